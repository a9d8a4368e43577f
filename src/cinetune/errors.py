"""Every error a user can meet. The command line prints the one line and exits with code 2.

* CinetuneError
  x RecipeError    - a field of a recipe or a storyboard, or an option, is unknown, missing or out of range
  x PluginError    - no such model, metric or lever
  x FootageError   - a film cannot be read, or does not hold enough material
  x RecordError    - a record file on disk is damaged or of another schema
  x RunError       - a run folder is unwritable, incomplete or belongs to another recipe
  x WeightsError   - weights are missing, damaged or do not fit the network
  x MetricError    - a metric was asked for something it cannot measure

Each message says what is wrong, where, and what to do, in one line.
"""


class CinetuneError(Exception):
    """Base class: `except CinetuneError` catches every error raised on purpose."""


class RecipeError(CinetuneError):
    """A field of a recipe or a storyboard, or an option, is unknown, missing or out of range."""


class PluginError(CinetuneError):
    """No model, metric or lever has this name."""


class FootageError(CinetuneError):
    """A film cannot be read, or does not hold enough material."""


class RecordError(CinetuneError):
    """A record file on disk is damaged or of another schema."""


class RunError(CinetuneError):
    """A run folder is unwritable, incomplete or belongs to another recipe."""


class WeightsError(CinetuneError):
    """Weights are missing, damaged or do not fit the network."""


class MetricError(CinetuneError):
    """A metric was asked for something it cannot measure."""
