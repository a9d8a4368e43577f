"""Several processes make the windows of one film: which of them does what, and what ends them."""
