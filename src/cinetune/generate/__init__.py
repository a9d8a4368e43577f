"""Stage 2: keyframes and their expansion in time."""
