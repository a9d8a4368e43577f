"""`cinetune doctor`: what fits this machine, and how fast it will be, from config files alone."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from cinetune.adapters.targets import SETS
from cinetune.devices import pick_device
from cinetune.doctor import report
from cinetune.doctor.configs import Described, describe_model
from cinetune.doctor.estimate import Peak, Plan, Step, advise, generate_peak, shape, train_peak
from cinetune.doctor.measure import Measured, Work, try_out
from cinetune.doctor.plausible import Claim, plausible
from cinetune.doctor.vae import VaeCost, count_vae
from cinetune.errors import RecipeError
from cinetune.files import write_text
from cinetune.models._contract import VideoModel
from cinetune.models._random_model import RandomModel
from cinetune.models._resolve import RANDOM, find_model
from cinetune.ops.flops import Flops, adapted, forward_flops, lora_parameters, sampler_flops, training_flops
from cinetune.ops.gpus import GPUS, Gpu, detect, find_gpu
from cinetune.ops.memory import Precision

SHARE_OF_PEAK = 0.33
"""Model FLOPs over what the peak allows, where nothing was measured.

Source: NVIDIA-NeMo/DFM docs/performance-summary.md, Wan2.1-14B pre-training in bf16 on H100: 325.8 TFLOP/s of 989.
"""


@dataclass(frozen=True)
class OnGpu:
    """The answer for one GPU."""

    gpu: Gpu
    train_fits: bool
    generate_fits: bool
    train_advice: list[Step]
    generate_advice: list[Step]
    step_floor: float | None
    """Seconds of one training step at 100 % of the peak, recomputation included."""
    step_expected: float | None
    """What the gradients need at the stated share; or, where a forward pass was measured, what is carried out."""
    video_floor: float | None
    """Seconds of one video at 100 % of the peak, denoising and VAE."""
    video_expected: float | None


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `doctor` says."""

    model: Described
    plan: Plan
    tokens: int
    trainable: int
    forward: int
    """FLOP of one forward pass."""
    step: Flops
    """FLOP of one training step (one micro-batch)."""
    video: int
    """FLOP of all forward passes of one video, without the VAE."""
    steps: int
    guidance: float
    vae: VaeCost | None
    train: Peak
    generate: Peak
    share: float
    """Share of the peak that the expected times assume."""
    share_from: str
    gpus: list[OnGpu]
    found: bool
    """Whether there is one GPU, found or named; else the table of several is shown."""
    claim: Claim | None
    measured: Measured | None
    """What this machine did, where it was asked to run."""


def doctor(
    model: str = "wan",
    *,
    weights: Literal["stored", "random"] = "stored",
    gpu: str | None = None,
    gpus: int = 1,
    frames: int = 33,
    height: int = 480,
    width: int = 832,
    batch: int = 1,
    rank: int = 8,
    targets: str = "cross-attention",
    image_projections: bool = True,
    full: bool = False,
    precision: Precision = "bf16",
    checkpointing: bool = True,
    encoders: Literal["fp32", "bf16", "freed"] = "fp32",
    steps: int = 40,
    guidance: float = 5.0,
    share: float | None = None,
    calibrate: float | None = None,
    claim: float | None = None,
    vae_factor: int | None = None,
    measure: bool = False,
    repeats: int = 3,
    seed: int = 0,
    device: str = "auto",
    json_file: Path | None = None,
    console: Console | None = None,
) -> Diagnosis:
    """Estimate memory and time of training and generating with a model, print them, and return them.

    Reads config files only, but for `measure`. Memory is per GPU; times are of one training step on one GPU, and of one
    video on all.

    Args:
        model: name, folder, hub id (its configs are downloaded, a few kilobytes), or path of a config.json.
        weights: "random" builds the model's shape with random weights and downloads nothing.
        gpu: name of a GPU; by default the one of this machine.
        gpus: how many of them one training or one video may be spread over.
        targets: a set's name (cross-attention, attention, all-linear) or a regular expression over layer names.
        image_projections: whether the set includes add_k_proj and add_v_proj.
        full: train every weight instead of a LoRA.
        encoders: precision of text and image encoder on the GPU, or freed.
        share: share of the peak to expect, 0..1; by default SHARE_OF_PEAK.
        calibrate: measured seconds of one forward pass on one such GPU; gives the share instead.
        claim: seconds that somebody says one video takes on these GPUs.
        vae_factor: pixels of one latent along a side, for a bare config.json (16 for Wan2.2 TI2V-5B).
        measure: also build the network here, run one forward pass and one LoRA step, and compare; the forward pass
            then calibrates the times.
        repeats: timed runs of each, after one that is not timed.
        seed: of random weights, adapter and inputs of that run.
        device: where it runs: auto, cpu, cuda or cuda:N.
        json_file: also write everything there.

    Raises:
        PluginError: no such model.
        WeightsError: a config is missing or not Wan's, or a shape that the package does not have.
        RecipeError: a size that the model cannot make, or targets that match nothing.
        RunError: no such GPU, a time that is none, or out of memory.
    """
    if weights == "random" and not model.startswith(RANDOM):
        model = f"{RANDOM}{model}"
    described = describe_model(model, vae_factor)
    sizes = described.sizes
    layers = None if full else tuple(adapted(sizes, _pattern(targets, image_projections)))
    plan = Plan(
        frames, height, width, layers, rank, batch, precision, checkpointing, encoders, ulysses=1, shards=1
    )  # fmt: skip
    _check(batch=batch, rank=rank, gpus=gpus, steps=steps, repeats=repeats)
    here = _device(device, gpu, calibrate) if measure else None
    built = _model(model, seed) if measure else None
    one = shape(described, plan, 1)
    tokens = one.tokens(sizes.patch_size)
    vae = count_vae(described.vae, frames, height, width) if described.vae is not None else None
    named = find_gpu(gpu) if gpu else detect(here.index or 0 if here else 0)
    if claim is not None and named is None:
        raise RecipeError("--claim: a time on which GPU? No CUDA GPU here; name one with --gpu")
    forward, video = forward_flops(sizes, one), sampler_flops(sizes, one, steps=steps, guidance=guidance)
    cost = training_flops(
        sizes, shape(described, plan, batch), layers=None if layers is None else list(layers), rank=rank,
        checkpointing=checkpointing,
    )  # fmt: skip
    part, source = _share(share, calibrate, forward, named)
    measured = None
    if here is not None and built is not None:
        on_gpu = named if here.type == "cuda" else None
        measured = try_out(
            built, described, plan, device=here, gpu=on_gpu, share=part, repeats=repeats, seed=seed,
            weights="random" if model.startswith(RANDOM) else "stored",
        )  # fmt: skip
        if measured.forward.share is not None:
            part = measured.forward.share
            source = f"measured here, one forward pass in {measured.forward.seconds:.3g} s"
    carried = measured.forward.share is not None if measured else calibrate is not None
    train, generate = train_peak(described, plan, vae), generate_peak(described, plan, vae)
    coded = video + (vae.encode_flops + vae.decode_flops if vae else 0)

    def judge(one_gpu: Gpu) -> OnGpu:
        peak = None if one_gpu.tflops is None else one_gpu.tflops * 1e12
        fits = train.fits(one_gpu.memory), generate.fits(one_gpu.memory)
        return OnGpu(
            one_gpu,
            *fits,
            [] if fits[0] else advise(described, plan, vae, one_gpu.memory, work="train", gpus=gpus),
            [] if fits[1] else advise(described, plan, vae, one_gpu.memory, work="generate", gpus=gpus),
            step_floor=peak and cost.hardware / peak,
            step_expected=peak and (cost.hardware if carried else cost.model) / peak / part,
            video_floor=peak and coded / peak / gpus,
            video_expected=peak and coded / peak / gpus / part,
        )

    diagnosis = Diagnosis(
        model=described, plan=plan, tokens=tokens,
        trainable=described.parameters if layers is None else lora_parameters(list(layers), rank),
        forward=forward, step=cost, video=video, steps=steps, guidance=guidance, vae=vae, train=train,
        generate=generate, share=part, share_from=source, gpus=[judge(g) for g in ([named] if named else GPUS)],
        found=named is not None, claim=plausible(claim, video, named, gpus) if claim is not None and named else None,
        measured=measured,
    )  # fmt: skip
    report.show(diagnosis, console or Console())
    if json_file is not None:
        write_text(json_file, json.dumps(as_json(diagnosis), indent=2) + "\n")
    return diagnosis


def as_json(diagnosis: Diagnosis) -> dict[str, object]:
    """Return everything as plain values: bytes, FLOP and seconds; layers by name."""
    tree = asdict(diagnosis)
    layers = diagnosis.plan.layers
    tree["plan"]["layers"] = None if layers is None else [layer.name for layer in layers]
    for key, peak in (("train", diagnosis.train), ("generate", diagnosis.generate)):
        tree[key] = _peak(peak)
    for row, answer in zip(tree["gpus"], diagnosis.gpus, strict=True):
        for key in ("train_advice", "generate_advice"):
            row[key] = [{"switch_on": step.name, "peak": _peak(step.peak)} for step in getattr(answer, key)]
    tree["step"] = diagnosis.step._asdict()
    tree["claim"] = diagnosis.claim._asdict() if diagnosis.claim else None
    if diagnosis.measured:
        for key in ("forward", "step"):
            work: Work = getattr(diagnosis.measured, key)
            tree["measured"][key] |= {"tflops": work.tflops, "measured_over_expected": work.ratios()}
    return {"schema": 1, "machine": report.machine(), **tree}


def _peak(peak: Peak) -> dict[str, object]:
    return {"moment": peak.moment, "bytes": peak.total, "terms": dict(peak.terms), "other_moments": dict(peak.others)}


def _pattern(targets: str, image_projections: bool) -> str:
    pattern = SETS.get(targets, targets)
    return pattern if image_projections else rf"(?!.*\.add_[kv]_proj$)(?:{pattern})"


def _share(share: float | None, calibrate: float | None, forward: int, gpu: Gpu | None) -> tuple[float, str]:
    """The share of the peak to expect, and where it comes from."""
    if calibrate is None:
        if share is not None and not 0 < share <= 1:
            raise RecipeError(f"--share {share}: a share of the peak is above 0 and at most 1")
        return (share, "given") if share is not None else (SHARE_OF_PEAK, "published, Wan2.1-14B on H100")
    if gpu is None:
        raise RecipeError("--calibrate: measured on which GPU? No CUDA GPU here; name one with --gpu")
    measured = plausible(calibrate, forward, gpu)
    if measured.share > 1:
        raise RecipeError(f"--calibrate: one forward pass in {measured.text}; is it another size or GPU?")
    return measured.share, f"measured, one forward pass in {calibrate:g} s"


def _device(wanted: str, gpu: str | None, calibrate: float | None) -> torch.device:
    """Where to measure, which must be the GPU that is talked about."""
    if calibrate is not None:
        raise RecipeError("--measure finds the seconds that --calibrate states; give one of the two")
    device = pick_device(wanted)
    if gpu and device.type != "cuda":
        raise RecipeError(f"--measure runs on this machine's {device.type}; leave --gpu {gpu} out")
    return device


def _model(name: str, seed: int) -> VideoModel:
    if Path(name).is_file():
        raise RecipeError(f"--measure: {name} is one config; give a name, a folder in diffusers layout or a hub id")
    found: VideoModel = find_model(name)
    return replace(found, seed=seed) if isinstance(found, RandomModel) else found


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise RecipeError(f"{name} must be at least 1, got {count}")
