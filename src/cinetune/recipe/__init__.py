"""The recipe: one frozen object that says everything about a run.

Resolved once (defaults, then a TOML file or a preset's name, then `section.field=value`), validated, hashed to
an id and saved in the run folder. After that nothing reads a global or a machine-dependent default.
"""

from cinetune.recipe.evaluate import Evaluate
from cinetune.recipe.footage import Footage, Size
from cinetune.recipe.generate import Generate
from cinetune.recipe.lora import Lora
from cinetune.recipe.section import Section
from cinetune.recipe.system import System
from cinetune.recipe.train import Train
from cinetune.recipe.validation import Validation
from cinetune.recipe.whole import Recipe, load_recipe, presets, with_system

__all__ = [
    "Evaluate",
    "Footage",
    "Generate",
    "Lora",
    "Recipe",
    "Section",
    "Size",
    "System",
    "Train",
    "Validation",
    "load_recipe",
    "presets",
    "with_system",
]
