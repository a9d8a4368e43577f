"""Find models, metrics and levers by name.

The folder is the registry: `metrics/fvd.py` holds one object called `METRIC` and is imported only when
somebody asks for "fvd". A plugin outside the package is written `module:OBJECT`.
"""

import difflib
import importlib
import pkgutil
from functools import cache
from typing import Any

from cinetune.errors import PluginError

KINDS = {"models": "MODEL", "metrics": "METRIC", "generate.levers": "LEVER"}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Return the built-in names of one kind, without importing any of them."""
    package = importlib.import_module(f"cinetune.{kind}")
    found = pkgutil.iter_modules(package.__path__)
    return tuple(m.name for m in found if not m.name.startswith("_") and not m.ispkg)


def load(kind: str, name: str) -> Any:
    """Import and return one plugin.

    Raises:
        PluginError: no such name; the message lists the close ones.
    """
    attribute = KINDS[kind]
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise PluginError(f"{name}: cannot import this plugin: {error}") from None
    if name not in names(kind):
        close = difflib.get_close_matches(name, names(kind)) or names(kind)
        raise PluginError(f"no {attribute.lower()} named {name!r}; did you mean {', '.join(close)}?")
    return getattr(importlib.import_module(f"cinetune.{kind}.{name}"), attribute)
