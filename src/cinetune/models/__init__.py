"""Base models behind one contract; the folder is the registry (see cinetune.plugins)."""
