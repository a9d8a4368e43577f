"""One file per metric; the folder is the registry (see cinetune.plugins)."""
