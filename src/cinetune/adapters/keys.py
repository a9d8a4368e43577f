"""The keys of an adapter file: which layer and which part each belongs to, and which format they speak."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cinetune.adapters import key_map

KOHYA = "lora_unet_"
_PREFIX = re.compile(r"(?:base_model\.model\.)?(?:diffusion_model\.|transformer\.)?")
_WEIGHT = re.compile(r"(.+)\.lora_(A|B|down|up)(?:\.[^.]+)?\.weight")
_ALPHA = re.compile(r"(.+)\.(?:lora_)?(alpha)")
_MAGNITUDE = re.compile(r"(.+)\.lora_(magnitude_vector)(?:\.[^.]+)*")
_FOREIGN = re.compile(
    r".+\.(?:diff|diff_b|diff_m|set_weight|dora_scale|lora_mid\.weight"
    r"|lora_(?:B|up)(?:\.[^.]+)?\.bias|lokr_\w+|hada_\w+)"
)
_PARTS = {"A": "a", "down": "a", "B": "b", "up": "b", "alpha": "alpha", "magnitude_vector": "magnitude"}


@dataclass(frozen=True)
class Key:
    """A key that is understood."""

    text: str
    layer: str
    """The diffusers name."""
    bare: str
    """The file's own name of the layer without prefix: what the patterns of its configuration speak of."""
    part: str
    """"a", "b", "alpha" or "magnitude" (peft's DoRA)."""
    formats: frozenset[str]
    """Formats in which the layer has this name; `patch_embedding` has it in two."""


@dataclass(frozen=True)
class Sorted:
    """All keys of a file."""

    known: list[Key]
    foreign: list[str]
    """Real adapter keys that `Layer` cannot hold: whole differences, biases, LyCORIS' DoRA (`dora_scale`, which readers
    take to mean one of two things: the norm of the base's rows, or of the adapted ones), LoKr, LoHa."""
    unknown: list[str]


def sort_keys(texts: Iterable[str]) -> Sorted:
    """Return what each key is; an alpha or a magnitude without weights (a LoKr has one) is foreign."""
    known, foreign, unknown = [], [], []
    for text in sorted(texts):
        match = _WEIGHT.fullmatch(text) or _ALPHA.fullmatch(text) or _MAGNITUDE.fullmatch(text)
        key = _key(text, match[1], _PARTS[match[2]]) if match else None
        if key:
            known.append(key)
        elif _FOREIGN.fullmatch(text):
            foreign.append(text)
        else:
            unknown.append(text)
    weighted = {key.layer for key in known if key.part in ("a", "b")}
    foreign += [key.text for key in known if key.layer not in weighted]
    return Sorted([key for key in known if key.layer in weighted], foreign, unknown)


def format_of(keys: list[Key]) -> str | None:
    """Return "wan", "diffusers" or "kohya", or None where the keys are of more than one."""
    formats = sorted(frozenset.intersection(*(key.formats for key in keys)))
    if len(formats) == 2:  # nothing but patch_embedding
        return "wan" if "diffusion_model." in keys[0].text else "diffusers"
    return formats[0] if formats else None


def some(texts: list[str], count: int = 3) -> str:
    """Return the first few, and how many more there are."""
    more = f" and {len(texts) - count} more" if len(texts) > count else ""
    return ", ".join(texts[:count]) + more


def _key(text: str, name: str, part: str) -> Key | None:
    if name.startswith(KOHYA):
        bare = name.removeprefix(KOHYA)
        layer = key_map.from_kohya(bare)
        return Key(text, layer, bare, part, frozenset({"kohya"})) if layer else None
    prefix = _PREFIX.match(name)
    bare = name[prefix.end() :] if prefix else name
    meanings = {"diffusers": key_map.from_diffusers(bare), "wan": key_map.from_wan(bare)}
    formats = frozenset(form for form, layer in meanings.items() if layer)
    layer = meanings["diffusers"] or meanings["wan"]
    return Key(text, layer, bare, part, formats) if layer else None
