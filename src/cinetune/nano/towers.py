"""The miniature's text encoder, tokenizer, image encoder and image processor, of the classes Wan2.1 uses.

The two encoders learn to agree on rendered frames and their captions (contrastive, Radford et al. 2021), so that
their tokens mean something before the denoising network sees them.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, T5TokenizerFast, UMT5Config, UMT5EncoderModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from cinetune.nano.data import Clips
from cinetune.nano.fit import fit

VOCABULARY = 1024
IMAGE = 64
"""Pixels of the square that the image encoder sees; the frame is stretched to it, as Wan2.1 does."""


def build_tokenizer(captions: list[str]) -> T5TokenizerFast:
    """Train a small unigram vocabulary that can still spell any caption in printable ASCII."""
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    alphabet = [chr(code) for code in range(33, 127)] + ["▁"]
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY, special_tokens=special, unk_token="<unk>", initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(sorted(set(captions)), trainer)
    vocabulary = [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    known = {piece for piece, _ in vocabulary}
    vocabulary += [(piece, -20.0) for piece in alphabet if piece not in known]
    return T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=512)


class Towers(nn.Module):
    """Text and image encoder with the heads that only their training needs."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.text = UMT5EncoderModel(
            UMT5Config(
                vocab_size=vocabulary,
                d_model=64,
                d_kv=16,
                num_heads=4,
                d_ff=128,
                num_layers=2,
                relative_attention_num_buckets=16,
                relative_attention_max_distance=64,
                dropout_rate=0.0,
            )
        )
        self.image = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=96,
                intermediate_size=192,
                num_hidden_layers=3,
                num_attention_heads=4,
                image_size=IMAGE,
                patch_size=16,
                hidden_act="gelu",
                projection_dim=64,
            )
        )
        self.text_head = nn.Linear(64, 64, bias=False)
        self.image_head = nn.Linear(96, 64, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(2.0))


def build_processor() -> CLIPImageProcessorPil:
    """Return the processor: bicubic stretch to a square, no crop, CLIP's mean and deviation."""
    size = {"height": IMAGE, "width": IMAGE}
    return CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False, resample=3)


def train(
    folder: Path, clips: Clips, *, steps: int, seed: int, device: torch.device, batch: int = 64
) -> tuple[Towers, T5TokenizerFast]:
    """Train both encoders on single frames and captions."""
    tokenizer = build_tokenizer(clips.captions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = Towers(len(tokenizer))
    towers.to(device)
    mean = torch.tensor(build_processor().image_mean).view(3, 1, 1)
    std = torch.tensor(build_processor().image_std).view(3, 1, 1)

    def loss_of(step: int, generator: torch.Generator) -> Tensor:
        pick = torch.randint(len(clips.frames), (batch,), generator=generator).numpy()
        which = torch.randint(clips.frames.shape[1], (batch,), generator=generator).numpy()
        frames = np.stack([clips.frames[n, f] for n, f in zip(pick, which, strict=True)])
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        pixels = F.interpolate(pixels, (IMAGE, IMAGE), mode="bicubic", antialias=True).clamp(0, 1)
        pixels = ((pixels - mean) / std).to(device)
        words = tokenizer([clips.captions[n] for n in pick], padding=True, return_tensors="pt").to(device)
        tokens = towers.text(words.input_ids, words.attention_mask).last_hidden_state
        mask = words.attention_mask.unsqueeze(-1)
        text = F.normalize(towers.text_head((tokens * mask).sum(1) / mask.sum(1)), dim=-1)
        # hidden_states[-2] is what the denoising network will see, so that is what must carry the meaning
        seen = towers.image(pixels, output_hidden_states=True).hidden_states[-2]
        image = F.normalize(towers.image_head(seen.mean(1)), dim=-1)
        logits = towers.log_scale.exp().clamp(max=50) * image @ text.T
        # Different clips may share a caption: every clip with the same caption is a right answer.
        captions = [clips.captions[n] for n in pick]
        same = torch.tensor([[float(a == b) for b in captions] for a in captions], device=device)
        target = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    steppers = [torch.optim.AdamW(towers.parameters(), lr=1e-3, weight_decay=0.01)]
    fit(folder, towers, loss_of, name="towers", steps=steps, optimisers=steppers, seed=seed)
    return towers.eval(), tokenizer
