"""How the networks that the package's own metrics look through were made. `cinetune nano train` calls this.

Everything is learnt from rendered films of all domains, on one CPU thread, in about a quarter of an hour:

* nano_frames, nano_video: tell domain, subject and setting (and motion and camera, from the whole video).
* nano_clip: frames and captions agree (contrastive, Radford et al. 2021).
* nano_lpips: on the trunk of nano_frames, heads under which the stronger of two distortions is the farther.

Same seed, same bytes, on the same machine and version of torch. What the networks reach on held-out clips is
written to backbones.json beside the weights.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from cinetune.files import folder_aside, write_text
from cinetune.footage.procedural import DOMAINS, render_clip
from cinetune.metrics.backbones import _weights, nano_clip, nano_lpips
from cinetune.metrics.backbones._lpips_form import LpipsDistance
from cinetune.metrics.backbones._nano_trunk import WIDTHS, NanoTrunk
from cinetune.metrics.backbones.nano_video import FEATURES, NanoVideoNetwork
from cinetune.ops import distortions

LABELS = ("domain", "subject", "setting", "motion", "camera")
STILL = LABELS[:3]
"""What one frame can show."""
IMAGE, CONTEXT = 64, 64
"""Side of the square that nano_clip sees, pixels; longest caption, tokens."""


@dataclass(frozen=True)
class Plan:
    """How much of everything; the defaults made the weights in the package."""

    clips: int = 2800
    held_out: int = 420
    frames_steps: int = 2400
    video_steps: int = 2400
    clip_steps: int = 2400
    lpips_steps: int = 600

    def scaled(self, share: float) -> "Plan":
        """Return the plan with `share` of the clips and steps, at least a handful of each."""
        return Plan(*(max(28, round(getattr(self, f.name) * share)) for f in fields(self)))


@dataclass(frozen=True)
class Clips:
    """Rendered clips and what they show."""

    frames: UInt8[np.ndarray, "n f h w 3"]
    captions: list[str]
    labels: Int[Tensor, "n 5"]
    """Positions in the sorted names of each of LABELS."""
    scenes: Int[Tensor, " n"]
    """Equal where domain, subject and setting are: all that a caption can say about one frame."""


def train_backbones(
    out: Path,
    *,
    seed: int,
    plan: Plan = Plan(),
    progress: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train the four networks and write them, and what they reach on held-out clips, to the folder `out`.

    Args:
        out: gets nano_frames.safetensors, nano_video.safetensors, nano_lpips.safetensors, nano_clip/, backbones.json.
        seed: of the films, the starting weights, the order and the distortions.
        plan: how many clips and steps.
        progress: is told a line from time to time.

    Returns:
        the figures of backbones.json: shares 0..1 on held-out clips.

    Raises:
        RunError: `out` cannot be written.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads depend on how many there are
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # starting weights; all else draws from generators
            return _train(out, seed, plan, progress)
    finally:
        torch.set_num_threads(threads)


def _train(out: Path, seed: int, plan: Plan, progress: Callable[[str], None]) -> dict[str, float]:
    train, test, sizes = _render(plan, seed, progress)
    figures: dict[str, float] = {}

    trunk = NanoTrunk()
    classifier = _Heads(lambda x: trunk(x)[-1].mean((2, 3)), WIDTHS[-1], sizes[: len(STILL)])

    def frames_loss(generator: torch.Generator) -> Tensor:
        pick, pixels = _some_frames(train, 64, generator)
        return classifier.loss(_augmented(pixels, generator), train.labels[pick])

    parts = nn.ModuleList([trunk, classifier])
    _fit("nano_frames", parts, frames_loss, plan.frames_steps, 3e-3, seed, progress)
    _weights.rounded(trunk)
    middle = torch.from_numpy(test.frames[:, test.frames.shape[1] // 2])
    figures |= classifier.accuracy("nano_frames", [_pixels(f[None]) for f in middle], test.labels)
    _weights.write(trunk, out / "nano_frames.safetensors")

    video = NanoVideoNetwork()
    teller = _Heads(video, FEATURES, sizes)

    def video_loss(generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(train.frames), (16,), generator=generator)
        pixels = torch.stack([_video(train.frames[i]) for i in pick.tolist()])
        return teller.loss(_augmented(pixels, generator), train.labels[pick])

    _fit("nano_video", nn.ModuleList([video, teller]), video_loss, plan.video_steps, 3e-3, seed, progress)
    _weights.rounded(video)
    figures |= teller.accuracy("nano_video", [_video(v)[None] for v in test.frames], test.labels)
    _weights.write(video, out / "nano_video.safetensors")

    figures |= _train_clip(out / "nano_clip", train, test, plan.clip_steps, seed, progress)
    figures |= _train_lpips(out / "nano_lpips.safetensors", trunk, train, test, plan.lpips_steps, seed, progress)

    figures = {name: round(value, 4) for name, value in figures.items()}
    about = {"seed": seed, "clips": plan.clips, "held_out_clips": plan.held_out, "held_out": figures}
    write_text(out / "backbones.json", json.dumps(about, indent=2) + "\n")
    return figures


# ---------------------------------------------------------------------------------------------- films


def _render(plan: Plan, seed: int, progress: Callable[[str], None]) -> tuple[Clips, Clips, list[int]]:
    """Training clips, held-out clips, and how many names each of LABELS has."""
    total = plan.clips + plan.held_out
    frames = np.empty((total, 17, 64, 96, 3), np.uint8)
    captions, said = [], []
    for index in range(total):
        clip = render_clip(DOMAINS[index % len(DOMAINS)], seed=seed + index)
        frames[index] = clip.frames
        captions.append(clip.caption)
        said.append([str(getattr(clip, name)) for name in LABELS])
        if (index + 1) % 700 == 0:
            progress(f"rendered {index + 1} of {total} clips")
    names = [sorted({row[k] for row in said}) for k in range(len(LABELS))]
    labels = torch.tensor([[names[k].index(row[k]) for k in range(len(LABELS))] for row in said])
    scenes = torch.unique(labels[:, : len(STILL)], dim=0, return_inverse=True)[1]
    train, test = (
        Clips(frames[rows], captions[rows], labels[rows], scenes[rows])
        for rows in (slice(plan.clips), slice(plan.clips, total))
    )
    return train, test, [len(n) for n in names]


def _pixels(frames: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    return frames.permute(0, 3, 1, 2).float() / 127.5 - 1


def _video(frames: UInt8[np.ndarray, "f h w 3"]) -> Float[Tensor, "3 f h w"]:
    return _pixels(torch.from_numpy(frames)).transpose(0, 1)


def _some_frames(
    clips: Clips, batch: int, generator: torch.Generator
) -> tuple[Int[Tensor, " b"], Float[Tensor, "b 3 h w"]]:
    """Random clips, and a random frame of each."""
    pick = torch.randint(len(clips.frames), (batch,), generator=generator)
    when = torch.randint(clips.frames.shape[1], (batch,), generator=generator)
    return pick, _pixels(torch.from_numpy(clips.frames[pick.numpy(), when.numpy()]))


def _augmented(pixels: Float[Tensor, "b 3 *f h w"], generator: torch.Generator) -> Float[Tensor, "b 3 *f h w"]:
    """Shift each item by up to 6 pixels and vary its gain by 10 %: little, as grade and place are what is learnt."""
    out = torch.empty_like(pixels)
    for i, item in enumerate(pixels):
        dy, dx = (torch.randint(-6, 7, (2,), generator=generator)).tolist()
        rows = (torch.arange(item.shape[-2]) + dy).clamp(0, item.shape[-2] - 1)
        columns = (torch.arange(item.shape[-1]) + dx).clamp(0, item.shape[-1] - 1)
        gain = 0.9 + 0.2 * torch.rand(1, generator=generator)
        out[i] = ((item[..., rows, :][..., columns] + 1) * gain - 1).clamp(-1, 1)
    return out


# ------------------------------------------------------------------------------------------- learning


class _Heads(nn.Module):
    """One linear classifier for each label, on features of another network."""

    def __init__(self, features: Callable[[Tensor], Tensor], width: int, sizes: list[int]) -> None:
        super().__init__()
        self._features = [features]  # in a list, so that a network is not registered twice
        self.heads = nn.ModuleList([nn.Linear(width, size) for size in sizes])

    def loss(self, pixels: Tensor, labels: Int[Tensor, "b 5"]) -> Float[Tensor, ""]:
        features = self._features[0](pixels)
        losses = [F.cross_entropy(head(features), labels[:, k]) for k, head in enumerate(self.heads)]
        return torch.stack(losses).sum()

    @torch.no_grad()
    def accuracy(self, name: str, items: list[Tensor], labels: Int[Tensor, "n 5"]) -> dict[str, float]:
        features = torch.cat([self._features[0](item) for item in items])
        right = [(head(features).argmax(1) == labels[:, k]).float().mean() for k, head in enumerate(self.heads)]
        return {f"{name}.{LABELS[k]}": float(r) for k, r in enumerate(right)}


def _fit(
    name: str,
    network: nn.Module,
    loss_of: Callable[[torch.Generator], Tensor],
    steps: int,
    rate: float,
    seed: int,
    progress: Callable[[str], None],
    after: Callable[[], None] = lambda: None,
) -> None:
    """AdamW with a short warm-up and a cosine to zero; leaves the network in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), lr=rate, weight_decay=0.02)
    network.train()
    running = 0.0
    for step in range(steps):
        warm = min(1.0, (step + 1) / 40)
        optimiser.param_groups[0]["lr"] = rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = loss_of(generator)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        after()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            progress(f"{name}: step {step + 1} of {steps}, loss {running:.3f}")
    network.eval()


# ----------------------------------------------------------------------------------------------- CLIP


def _tokenizer(captions: list[str]) -> CLIPTokenizer:
    """CLIP's byte-level BPE, learnt from the captions; it can still spell any text."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    words = sorted({word for caption in captions for word in caption.lower().replace(",", " ,").split()})
    bpe.train_from_iterator((word.removesuffix(".") for word in words), trainer)
    learnt = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    pieces = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)


def _clip_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": CONTEXT, "pad_token_id": tokenizer.pad_token_id, **ends,
    }  # fmt: skip
    vision = {
        "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4,
        "image_size": IMAGE, "patch_size": 8,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def _train_clip(
    out: Path, train: Clips, test: Clips, steps: int, seed: int, progress: Callable[[str], None]
) -> dict[str, float]:
    tokenizer = _tokenizer(train.captions)
    size = {"height": IMAGE, "width": IMAGE}
    processor = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (processor.image_mean, processor.image_std))
    model = _clip_model(tokenizer)

    def loss(generator: torch.Generator) -> Tensor:
        pick, pixels = _some_frames(train, 64, generator)
        pixels = F.interpolate(_augmented(pixels, generator), (IMAGE, IMAGE), mode="bicubic", antialias=True)
        words = tokenizer([train.captions[i] for i in pick.tolist()], padding=True, return_tensors="pt")
        logits = model(
            input_ids=words.input_ids,
            attention_mask=words.attention_mask,
            pixel_values=((pixels.clamp(-1, 1) + 1) / 2 - mean) / std,
        ).logits_per_image
        # Captions also tell motion and camera, which no frame shows: every clip of the same scene is a right answer.
        same = (train.scenes[pick][:, None] == train.scenes[pick][None]).float()
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    _fit("nano_clip", model, loss, steps, 1.5e-3, seed, progress)
    with folder_aside(out) as folder:
        model.config.save_pretrained(folder)
        _weights.write(model, folder / "model.safetensors")
        tokenizer.save_pretrained(folder)
        processor.save_pretrained(folder)

    eye = nano_clip.load(out)
    images = np.concatenate([eye.images(v[len(v) // 2 : len(v) // 2 + 1]) for v in test.frames])
    captions = sorted(set(test.captions))
    texts = np.stack([eye.text(caption) for caption in captions])
    nearest = (_unit(images) @ _unit(texts).T).argmax(1)
    told = test.labels[torch.tensor([test.captions.index(captions[i]) for i in nearest])]
    right = (told == test.labels).float().mean(0)
    return {f"nano_clip.nearest_caption.{name}": float(right[k]) for k, name in enumerate(STILL)}


def _unit(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


# ---------------------------------------------------------------------------------------------- LPIPS


def _train_lpips(
    out: Path, trunk: NanoTrunk, train: Clips, test: Clips, steps: int, seed: int, progress: Callable[[str], None]
) -> dict[str, float]:
    network: LpipsDistance = nano_lpips.network()
    network.trunk.load_state_dict(trunk.state_dict())
    network.trunk.requires_grad_(False)
    kinds = list(distortions.KINDS)

    def loss(generator: torch.Generator) -> Tensor:
        network.trunk.eval()  # its batch normalisation keeps the statistics it has
        _, x = _some_frames(train, 16, generator)
        kind = kinds[int(torch.randint(len(kinds), (1,), generator=generator))]
        weak, strong = distortions.weak_and_strong(x, kind, generator)
        near, far = network(x, weak), network(x, strong)
        # relative, so that neither the scale of the heads nor a mild distortion escapes
        return F.softplus(-10 * (far - near) / (far + near + 1e-6)).mean()

    def keep_positive() -> None:
        with torch.no_grad():
            for head in network.heads:
                head.clamp_(min=0)

    _fit("nano_lpips", network, loss, steps, 2e-3, seed, progress, after=keep_positive)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed + 1)
        _, a = _some_frames(train, 128, generator)
        _, b = _some_frames(train, 128, generator)
        scale = 0.7 / network(a, b).mean()
        for head in network.heads:
            head.mul_(scale)
        _weights.rounded(network)
        figures = {}
        for kind in kinds:
            right = []
            for _ in range(16):
                _, x = _some_frames(test, 16, generator)
                weak, strong = distortions.weak_and_strong(x, kind, generator)
                right.append((network(x, strong) > network(x, weak)).float().mean())
            figures[f"nano_lpips.order.{kind}"] = float(torch.stack(right).mean())
    _weights.write(network, out)
    return figures
