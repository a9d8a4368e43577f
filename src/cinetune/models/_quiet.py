"""Keep the model libraries from drawing bars and printing reports of their own: stages speak for themselves."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """Silence diffusers and transformers but for errors, and put their settings back afterwards."""
    with ExitStack() as stack:
        for logs in (diffusers_logging, transformers_logging):
            _silence(logs, stack)
        yield


def _silence(logs: Any, stack: ExitStack) -> None:
    stack.callback(logs.set_verbosity, logs.get_verbosity())
    logs.set_verbosity_error()
    if logs.is_progress_bar_enabled():
        stack.callback(logs.enable_progress_bar)
        logs.disable_progress_bar()
