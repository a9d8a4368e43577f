from pathlib import Path

import pytest
import torch

from cinetune.doctor.configs import describe_model
from cinetune.errors import WeightsError
from cinetune.models._contract import Encoders, VideoModel
from cinetune.models._random import CONFIGS, shape_folder
from cinetune.models._random_model import RandomModel, draw_inputs
from cinetune.models._resolve import find_model
from cinetune.models._wan import WanModel
from cinetune.models.nano import FOLDER
from cinetune.ops.flops import Shape
from cinetune.ops.video import to_pixels
from tiny_kinds import build
from tiny_model import CAPTIONS

CPU = torch.device("cpu")


def test_shapes_by_every_name() -> None:
    assert shape_folder("wan2.1-i2v-14b-720p") == CONFIGS / "wan2.1-i2v-14b-720p"
    assert shape_folder("Wan-AI/Wan2.1-I2V-14B-720P-Diffusers") == CONFIGS / "wan2.1-i2v-14b-720p"
    assert shape_folder("wan") == CONFIGS / "wan2.1-i2v-14b-480p"
    assert shape_folder("nano") == shape_folder(str(FOLDER)) == FOLDER


@pytest.mark.parametrize("name", ["wan3", "", "json:dumps", "owner/model"])
def test_an_unknown_shape_lists_those_there_are(name: str) -> None:
    with pytest.raises(WeightsError, match=r"choose one of wan2\.1-flf2v-14b-720p, .*wan2\.2-ti2v-5b, or give a fo"):
        find_model(f"random:{name}")


def test_the_contract_and_the_facts_of_the_shape() -> None:
    model = find_model("random:wan2.1-i2v-14b-720p")
    assert isinstance(model, VideoModel)
    assert isinstance(model, RandomModel)
    assert (model.name, model.licence) == ("random:wan2.1-i2v-14b-720p", "none: random weights")
    assert (model.facts.kind, model.facts.image_tokens, model.facts.step) == ("i2v", True, 16)
    assert len(model.adapter_targets(image_projections=True)) == 6
    assert model.fingerprint() == "random-wan2.1-i2v-14b-720p-0"


def test_same_seed_same_bytes_and_no_two_parts_alike() -> None:
    first, second = (RandomModel("a", "nano", seed=5), RandomModel("b", str(FOLDER), seed=5))
    networks = [model.load_transformer(CPU, torch.bfloat16).state_dict() for model in (first, second)]
    assert networks[0].keys() == networks[1].keys()
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    other = RandomModel("a", "nano", seed=6).load_transformer(CPU, torch.bfloat16).state_dict()
    assert not torch.equal(networks[0]["proj_out.weight"], other["proj_out.weight"])
    encoders = first.load_encoders(CPU)
    drawn = [encoders.text_encoder.shared.weight, encoders.image_encoder.embeddings.patch_embedding.weight]
    assert not torch.equal(drawn[0].flatten()[:64], drawn[1].flatten()[:64])


def test_the_encoders_encode(tiny: WanModel) -> None:
    """nano's folder holds a tokenizer, so that captions can be encoded there."""
    encoders = find_model(f"random:{tiny.folder}").load_encoders(CPU)
    assert isinstance(encoders, Encoders)
    picture = (torch.rand(64, 96, 3, generator=torch.Generator().manual_seed(0)) * 255).byte().numpy()
    condition = encoders.condition(to_pixels(picture[None])[:, :, 0], 5)
    assert condition.shape == (1, 20, 2, 8, 12)
    assert encoders.encode_image(picture).shape == tiny.load_encoders(CPU).encode_image(picture).shape
    (text,) = encoders.encode_text(CAPTIONS[:1])
    assert text.shape[1] == 64
    assert text.isfinite().all()


def test_captions_need_a_tokenizer(tmp_path: Path, tiny: WanModel) -> None:
    for part in ("model_index.json", "transformer", "vae", "text_encoder", "image_encoder"):
        (tmp_path / part).symlink_to(tiny.folder / part)
    encoders = find_model(f"random:{tmp_path}").load_encoders(CPU)
    with pytest.raises(WeightsError, match=r"captions cannot be encoded, .* no tokenizer .*; give the downloaded mod"):
        encoders.encode_text(CAPTIONS)


@pytest.mark.parametrize("kind", ["i2v", "t2v", "ti2v", "two experts", "first and last"])
def test_random_inputs_go_through_every_kind_of_network(kind: str, tiny: WanModel, tmp_path: Path) -> None:
    source = tiny if kind == "i2v" else build(tiny, tmp_path / "folder", kind)
    model, described = find_model(f"random:{source.folder}"), describe_model(f"random:{source.folder}")
    shape = Shape(
        5, 64, 96, 2, spatial=described.spatial, time_per_token=described.time_per_token,
        image_tokens=described.sizes.pos_embed_seq_len or described.image_tokens,
    )  # fmt: skip
    latents, condition = draw_inputs(described.sizes, shape, generator=torch.Generator().manual_seed(0), device=CPU)
    again, _ = draw_inputs(described.sizes, shape, generator=torch.Generator().manual_seed(0), device=CPU)
    assert torch.equal(latents, again)
    network = model.load_transformer(CPU, torch.float32)
    with torch.no_grad():
        out = model.velocity(network, latents, torch.tensor([0.2, 0.95]), condition)
    assert out.shape == latents.shape == (2, 16, 2, 8, 12)
    assert out.isfinite().all()
    assert out.std() > 1e-3
