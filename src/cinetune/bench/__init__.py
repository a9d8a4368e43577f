"""`cinetune bench generate`: what generation costs, by adapter rank, by lever and by number of processes."""
