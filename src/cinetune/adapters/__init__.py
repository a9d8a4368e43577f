"""LoRA adapters: inject, save, load."""
