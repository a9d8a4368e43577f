"""How processes share the work of training: one file an engine, all with the same numbers."""
