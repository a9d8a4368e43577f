"""What the network is told of a shot in words: its prompt, the words of the style, and what of them is too much."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cinetune.generate.shot import Shot
from cinetune.generate.storyboard import Board


def prompt_of(shot: Shot, words: tuple[str, ...]) -> str:
    """Return prompt and phrases of the style as one sentence: what is to be seen, then how it looks, after commas.

    Captions of training clips are put together in this order (footage/captions.py; people write so, too). A phrase
    that the prompt has already is not said twice.
    """
    prompt = " ".join(shot.prompt.split())
    phrases = [" ".join(phrase.split()).rstrip(".") for phrase in words]
    new = [phrase for phrase in phrases if phrase.casefold() not in prompt.casefold()]
    if not new:
        return prompt
    told = prompt.rstrip(".,;: ")
    return f"{told}{' ' if told.endswith(('!', '?')) else ', '}{', '.join(new)}"


def cut_prompts(board: Board, words: tuple[str, ...], tokens: Callable[..., Mapping[str, Any]]) -> list[str]:
    """Return a line for each prompt, the negative one too, that is longer than the network reads: what is cut off.

    Args:
        words: phrases of the style, as `prompt_of` takes them.
        tokens: the model's own tokenizer (a fast one of transformers', which knows where in the text a token is).
    """
    return list(_cut(board, words, tokens))


def _cut(board: Board, words: tuple[str, ...], tokens: Callable[..., Mapping[str, Any]]) -> Iterator[str]:
    from cinetune.models._encoders import clean_prompt
    from cinetune.models._short_text import PADDED_LENGTH

    told = {f'shot {n} ("{shot.name}")': prompt_of(shot, words) for n, shot in enumerate(board.shots, 1)}
    for whose, prompt in {**told, "the negative prompt": board.negative}.items():
        text = clean_prompt(prompt)
        places = tokens(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        if len(places) <= PADDED_LENGTH:
            continue
        start = places[PADDED_LENGTH - 1][0]  # the last token that is read is the mark of the end
        tail = text[start:]
        if not tail[:1].isspace():  # within a word, or at its beginning
            tail = text[text.rfind(" ", 0, start) + 1 :]
        yield (f"{whose}: {len(places)} tokens, and the network reads {PADDED_LENGTH}; these words at the end are cut "
               f'off: "{tail.strip()}"')  # fmt: skip
