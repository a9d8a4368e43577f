"""Stage 1: the adapter, with early stopping and exact resume."""
