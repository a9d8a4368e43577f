"""How the embedded miniature was made: `cinetune nano train` runs these files from top to bottom.

render (films to frames), towers (text and image encoder), vae, latents, dit, backbones (metric networks), pack.
Nothing here is needed to use the model: cinetune/models/nano.py loads what this folder wrote.
"""
