"""From film files to a dataset: shots, windows, captions, splits, cached latents."""
