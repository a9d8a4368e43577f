"""Published networks through transformers: the features are those of its own classes, and only of the right weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_transformers import CLIP_VIEW, make_folder, shrink
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Model,
    VideoMAEForVideoClassification,
    VJEPA2Model,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from cinetune.errors import MetricError, WeightsError
from cinetune.metrics.backbones import clip_b32, clip_l14_336, clip_l14_336_cmmd, dinov2, videomae, vjepa2
from cinetune.metrics.backbones._contract import BatchVideoEye, ClipEye, FrameEye, VideoEye
from cinetune.metrics.backbones._transformers_view import IMAGENET
from cinetune.models._checking import build_empty

CPU = torch.device("cpu")
MODULES: dict[str, Any] = {"clip_b32": clip_b32, "dinov2": dinov2, "videomae": videomae, "vjepa2": vjepa2}
MEAN, DEVIATION = IMAGENET


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four folders."""
    root = tmp_path_factory.mktemp("networks")
    for name in MODULES:
        make_folder(name, root / name)
    return root


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a folder, to spoil."""
    return lambda name: Path(shutil.copytree(originals / name, tmp_path / name))


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """Moving blocks, 20 x 90 x 160."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (6, 10, 3)).repeat(15, 0).repeat(16, 1)
    return np.stack([np.roll(still, 4 * i, axis=1) for i in range(20)]).astype(np.uint8)


def close(ours: np.ndarray, theirs: torch.Tensor) -> None:
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-5)


# -------------------------------------------------------------------------------- features against transformers


def test_clip_is_transformers_clip(originals: Path, film: np.ndarray) -> None:
    eye = clip_b32.load(originals / "clip_b32", CPU)
    model = CLIPModel.from_pretrained(originals / "clip_b32", dtype=torch.float32).eval()
    pixels = CLIPImageProcessorPil(size=32, crop_size=32)(list(film), return_tensors="pt").pixel_values
    close(eye.images(film), model.get_image_features(pixels).pooler_output)
    tokenizer = CLIPTokenizer.from_pretrained(originals / "clip_b32")
    for caption in ("A car drives to the left.", "Žluťoučký kůň 漢字 :-)", "x"):
        tokens = tokenizer([caption], return_tensors="pt")
        close(eye.text(caption), model.get_text_features(**tokens).pooler_output[0])
    assert eye.images(film).std(0).max() > 0.01


def test_clip_reads_77_tokens(originals: Path) -> None:
    """Start, 75 bytes, end."""
    eye = clip_b32.load(originals / "clip_b32", CPU)
    np.testing.assert_array_equal(eye.text("b" * 74 + "c" * 200), eye.text("b" * 74 + "cd" + "e" * 100))
    assert not np.array_equal(eye.text("b" * 74 + "cd"), eye.text("b" * 74 + "dd"))


def test_dinov2_is_transformers_dinov2(originals: Path, film: np.ndarray) -> None:
    model = Dinov2Model.from_pretrained(originals / "dinov2", dtype=torch.float32).eval()
    processor = BitImageProcessorPil(size={"shortest_edge": 256}, image_mean=MEAN, image_std=DEVIATION)
    hidden = model(processor(list(film), return_tensors="pt").pixel_values).last_hidden_state
    features = dinov2.load(originals / "dinov2", CPU).frames(film)
    close(features, hidden[:, 0])
    assert features.std(0).max() > 0.01


def test_videomae_gives_what_its_classifier_gets(originals: Path, film: np.ndarray) -> None:
    model = VideoMAEForVideoClassification.from_pretrained(originals / "videomae", dtype=torch.float32).eval()
    model.classifier = torch.nn.Identity()
    processor = VideoMAEImageProcessorPil(image_mean=MEAN, image_std=DEVIATION)
    chosen = [film[int(20 / 32 + 20 / 16 * x)] for x in range(16)]
    features = videomae.load(originals / "videomae", CPU).video(film)
    close(features, model(processor(chosen, return_tensors="pt").pixel_values).logits[0])


def test_vjepa2_is_the_mean_of_transformers_features(originals: Path, film: np.ndarray) -> None:
    """Its processor is compared in test_transformers_view; here both get the same pixels."""
    model = VJEPA2Model.from_pretrained(originals / "vjepa2", dtype=torch.float32).eval()
    eye = vjepa2.load(originals / "vjepa2", CPU)
    for video, chosen in ((film[:16], film[:16]), (film[:7], film[[0, 1, 2, 4, 5, 6]])):
        pixels = vjepa2.VIEW(chosen, CPU)[None]
        close(eye.video(video), model.get_vision_features(pixels)[0].mean(0))


@pytest.mark.parametrize("name", ["clip_b32", "dinov2"])
def test_a_frame_does_not_depend_on_its_neighbours(originals: Path, film: np.ndarray, name: str) -> None:
    eye = MODULES[name].load(originals / name, CPU)
    look = eye.images if name == "clip_b32" else eye.frames
    together = look(film)  # 20, more than one batch
    np.testing.assert_allclose(together, np.concatenate([look(film[i : i + 3]) for i in range(0, 20, 3)]), atol=1e-6)
    np.testing.assert_allclose(together[::-1], look(film[::-1]), atol=1e-6)


@pytest.mark.parametrize("name", ["videomae", "vjepa2"])
def test_a_video_does_not_depend_on_its_neighbours(originals: Path, film: np.ndarray, name: str) -> None:
    eye = MODULES[name].load(originals / name, CPU)
    assert isinstance(eye, BatchVideoEye)
    five = [film[:16], film[4:], film[:16, ::-1], 255 - film[:16], film[:16, :, :50]]
    np.testing.assert_allclose(eye.videos(five), np.stack([eye.video(frames) for frames in five]), atol=1e-6)


@pytest.mark.parametrize("name", ["videomae", "vjepa2"])
def test_the_order_of_frames_counts_and_too_few_are_refused(originals: Path, film: np.ndarray, name: str) -> None:
    eye = MODULES[name].load(originals / name, CPU)
    least = {"videomae": 16, "vjepa2": 2}[name]
    assert eye.least_frames == least
    assert np.abs(eye.video(film[:16]) - eye.video(film[:16][::-1])).max() > 1e-3
    assert np.isfinite(eye.video(film[:least])).all()
    with pytest.raises(MetricError, match=f"{least - 1} frames; {name} needs at least {least}") as error:
        eye.video(film[: least - 1])
    one_line(error)


# ------------------------------------------------------------------------------------------- what they are


def test_true_configs_have_the_published_number_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP: openai/CLIP, by mteb and keras-hub; DINOv2 86.6 M: mteb; V-JEPA 2 of ViT-L: its model on the hub.

    VideoMAE: model.safetensors on the hub has 345 MB, in fp32.
    """
    monkeypatch.undo()
    counted = {}
    for network in (
        clip_b32.CLIP.network,
        clip_l14_336.CLIP.network,
        dinov2.NETWORK,
        videomae.NETWORK,
        vjepa2.NETWORK,
    ):
        built = build_empty(network.model, dict(network.config), network.name)
        counted[network.name] = sum(weight.numel() for weight in built.parameters())
        assert all(weight.device.type == "meta" for weight in built.parameters())
    assert counted["clip_b32"] == 151_277_313
    assert counted["clip_l14_336"] == 427_944_193
    assert counted["dinov2"] == pytest.approx(86.6e6, rel=1e-3)
    assert counted["videomae"] * 4 == pytest.approx(345e6, rel=2e-3)
    assert counted["vjepa2"] == 325_971_328


def test_backbones_say_what_they_are(originals: Path) -> None:
    kinds = {"clip": ClipEye, "frames": FrameEye, "video": VideoEye}
    for name, module in MODULES.items():
        found = module.BACKBONE
        eye = found.load(originals / name, CPU)
        assert isinstance(eye, kinds[found.kind])
        assert (eye.identity.name, found.name) == (name, name)
        assert eye.identity.preprocessing
        assert found.licence
        assert found.hub.count("@") == 1
    for module in (clip_l14_336, clip_l14_336_cmmd):
        assert module.BACKBONE.name == module.CLIP.network.name
        assert module.BACKBONE.hub == clip_l14_336.HUB
    assert clip_l14_336_cmmd.CLIP.network.preprocessing == str(clip_l14_336_cmmd.VIEW)


def test_the_sum_is_of_all_that_decides_the_features(folder: Callable[[str], Path]) -> None:
    path = folder("clip_b32")
    before = clip_b32.load(path, CPU).identity
    assert clip_b32.load(path, CPU).identity == before
    with (path / "tokenizer.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert clip_b32.load(path, CPU).identity.sha256 != before.sha256
    assert before.preprocessing == str(CLIP_VIEW)


def test_random_weights_are_seeded_and_named(film: np.ndarray) -> None:
    one, same, other = (dinov2.random(seed, CPU) for seed in (0, 0, 1))
    assert one.identity.name == "dinov2 random"
    assert one.identity == same.identity
    assert one.identity.sha256 != other.identity.sha256
    np.testing.assert_array_equal(one.frames(film[:2]), same.frames(film[:2]))
    assert clip_b32.random(0, CPU).text("A car.").shape == (24,)
    assert videomae.random(0, CPU).video(film).shape == (32,)
    assert vjepa2.BACKBONE.random is not None
    assert vjepa2.BACKBONE.random(CPU).identity.name == "vjepa2 random"


# ------------------------------------------------------------------------- names and files as they are published


def rename(path: Path, change: Callable[[str], str], **more: torch.Tensor) -> None:
    tensors = {change(name): tensor for name, tensor in load_file(path / "model.safetensors").items()}
    save_file({**tensors, **more}, path / "model.safetensors", metadata={"format": "pt"})


def test_openai_clip_loads_with_its_old_buffers_and_from_a_pickle(
    folder: Callable[[str], Path], film: np.ndarray
) -> None:
    path = folder("clip_b32")
    before = clip_b32.load(path, CPU).images(film[:2])
    tensors = load_file(path / "model.safetensors")
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    (path / "model.safetensors").unlink()
    torch.save(tensors, path / "pytorch_model.bin")
    np.testing.assert_array_equal(clip_b32.load(path, CPU).images(film[:2]), before)


def test_clip_reads_its_vocabulary_from_two_files(folder: Callable[[str], Path]) -> None:
    path = folder("clip_b32")
    before = clip_b32.load(path, CPU).text("A car.")
    words = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    (path / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    (path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (path / "tokenizer.json").unlink()
    np.testing.assert_allclose(clip_b32.load(path, CPU).text("A car."), before, atol=1e-6)


def test_videomae_and_dinov2_load_by_their_published_names(folder: Callable[[str], Path], film: np.ndarray) -> None:
    """q_bias and v_bias of the authors; attention.attention.query of transformers 4."""

    def old_videomae(name: str) -> str:
        for letter, word in (("q", "query"), ("v", "value")):
            name = name.replace(f"attention.attention.{word}.bias", f"attention.attention.{letter}_bias")
        return name

    def old_dinov2(name: str) -> str:
        for new, word in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")):
            name = name.replace(f"attention.{new}", f"attention.attention.{word}")
        return name.replace("attention.o_proj", "attention.output.dense")

    path = folder("videomae")
    before = videomae.load(path, CPU).video(film)
    rename(path, old_videomae)
    assert "videomae.encoder.layer.0.attention.attention.q_bias" in load_file(path / "model.safetensors")
    np.testing.assert_array_equal(videomae.load(path, CPU).video(film), before)

    path = folder("dinov2")
    seen = dinov2.load(path, CPU).frames(film[:2])
    rename(path, old_dinov2)
    assert "encoder.layer.0.attention.attention.query.weight" in load_file(path / "model.safetensors")
    np.testing.assert_array_equal(dinov2.load(path, CPU).frames(film[:2]), seen)


# ------------------------------------------------------------------------------------------- how loading fails


def one_line(error: pytest.ExceptionInfo[Exception]) -> None:
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def edit_config(path: Path, **change: Any) -> None:
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change), encoding="utf-8")


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path / "model.safetensors")
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def cut(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def foreign(path: Path) -> None:
    (path / "model.safetensors").unlink()
    torch.save({"layernorm.weight": print}, path / "pytorch_model.bin")


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda p: (p / "config.json").unlink(), r"no config\.json; dinov2 wants the folder of facebook/din"),
    "config cut short": (lambda p: (p / "config.json").write_text("{"), "config.json: not JSON"),
    "another model": (lambda p: edit_config(p, model_type="vit", architectures=["ViTModel"]), "of ViTModel, where Din"),
    "another size": (lambda p: edit_config(p, num_hidden_layers=3), "num_hidden_layers is 3 where dinov2 has 2"),
    "nonsense": (lambda p: edit_config(p, hidden_act="no such"), "does not describe a Dinov2Model"),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), r"no model\.safetensors and no pytorch_model\.bin"),
    "cut short": (cut, "damaged weights"),
    "a pickle that would run code": (foreign, "damaged weights"),
    "not a number": (
        lambda p: edit_weights(p, lambda t: t["layernorm.weight"].fill_(float("nan"))),
        r"NaN or infinite weights in 1 tensors: layernorm\.weight",
    ),
    "a tensor missing": (
        lambda p: edit_weights(p, lambda t: t.pop("layernorm.bias")),
        r"1 tensors are missing: layernorm\.bias",
    ),
    "a tensor too many": (
        lambda p: edit_weights(p, lambda t: t.update({"head.weight": torch.ones(2)})),
        r"1 tensors are not of dinov2: head\.weight",
    ),
    "another shape": (
        lambda p: edit_weights(p, lambda t: t.update({"layernorm.weight": torch.ones(31)})),
        r"1 tensors are of another shape: layernorm\.weight \(31,\) where \(32,\) is wanted",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_folder_is_one_line(folder: Callable[[str], Path], what: str) -> None:
    spoil, message = SPOILT[what]
    path = folder("dinov2")
    spoil(path)
    with pytest.raises(WeightsError, match=message) as error:
        dinov2.load(path, CPU)
    one_line(error)
    assert str(path) in str(error.value)


def test_a_spoilt_tokenizer_is_one_line(folder: Callable[[str], Path]) -> None:
    path = folder("clip_b32")
    whole = (path / "tokenizer.json").read_text(encoding="utf-8")
    words = json.loads(whole)
    words["model"]["vocab"]["extra</w>"] = 600
    for content, message in (
        ("{", "damaged tokenizer"),
        (json.dumps(words), "more words than the 514"),
        ("", r"no tokenizer\.json, and no vocab\.json with merges\.txt"),
    ):
        (path / "tokenizer.json").write_text(content, encoding="utf-8")
        if not content:
            (path / "tokenizer.json").unlink()
        with pytest.raises(WeightsError, match=message) as error:
            clip_b32.load(path, CPU)
        one_line(error)


def test_a_videomae_that_was_never_finetuned_is_refused(folder: Callable[[str], Path]) -> None:
    path = folder("videomae")
    edit_config(path, use_mean_pooling=False)
    with pytest.raises(WeightsError, match="use_mean_pooling is False where videomae has True") as error:
        videomae.load(path, CPU)
    one_line(error)


@pytest.mark.parametrize("module", [clip_b32, clip_l14_336, clip_l14_336_cmmd, dinov2, videomae, vjepa2])
def test_without_a_folder_and_without_the_hub(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="nor to be had from the hub") as error:
        module.load(None, CPU)
    one_line(error)
    assert module.BACKBONE.hub.partition("@")[0] in str(error.value)
