"""What makes a network faster, smaller or shared by processes, for training and generation alike."""
