import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from cinetune.errors import WeightsError
from cinetune.models._checking import CHANNELS, build_empty, check_pipeline, read_config
from cinetune.models._facts import read_facts
from cinetune.models._random import CONFIGS, published, random_part

CPU = torch.device("cpu")
SMALL = {
    "_class_name": "WanTransformer3DModel", "num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 36,
    "out_channels": 16, "text_dim": 32, "freq_dim": 32, "ffn_dim": 64, "num_layers": 3, "image_dim": 40,
    "added_kv_proj_dim": 48, "rope_max_seq_len": 64,
}  # fmt: skip
PARAMETERS = {
    # Wan Team 2025 and the model cards give 14 B, 1.3 B and 5 B; the exact ones follow from the shapes, and agree with
    # the sizes of the published files: 65.6 GB in fp32 for image-to-video, 28.6 GB in bf16 for text-to-video.
    "wan2.1-i2v-14b-480p": 16_394_878_784,
    "wan2.1-i2v-14b-720p": 16_394_878_784,
    "wan2.1-flf2v-14b-720p": 16_394_878_784 + 514 * 1280,  # one position for each image token of both frames
    "wan2.1-t2v-14b": 14_288_491_584,
    "wan2.1-t2v-1.3b": 1_418_996_800,
    "wan2.2-i2v-a14b": 14_288_491_584 + 20 * 4 * 5120,  # 20 further input channels, patches of 4
    "wan2.2-t2v-a14b": 14_288_491_584,
    "wan2.2-ti2v-5b": 4_999_787_712,
}


def forward(network: Any, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        out: torch.Tensor = network(
            hidden_states=torch.randn(1, 36, 3, 4, 6, generator=generator).to(dtype),
            timestep=torch.tensor([700.0]),
            encoder_hidden_states=torch.randn(1, 512, 32, generator=generator).to(dtype),
            encoder_hidden_states_image=torch.randn(1, 5, 40, generator=generator).to(dtype),
            return_dict=False,
        )[0]
    return out


def make(config: Path | dict[str, Any], dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Any:
    return random_part(WanTransformer3DModel, config, device=CPU, dtype=dtype, seed=seed)


def test_types_and_shapes_are_those_of_a_loaded_network(tmp_path: Path) -> None:
    WanTransformer3DModel.from_config(SMALL).save_pretrained(tmp_path)
    loaded = WanTransformer3DModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    made = make(tmp_path)
    for ours, theirs in (
        (dict(made.named_parameters()), dict(loaded.named_parameters())),
        (dict(made.named_buffers()), dict(loaded.named_buffers())),
    ):
        assert {n: (t.shape, t.dtype) for n, t in ours.items()} == {n: (t.shape, t.dtype) for n, t in theirs.items()}
        assert not any(tensor.is_meta for tensor in ours.values())
    assert {weight.dtype for weight in made.parameters()} == {torch.float32, torch.bfloat16}
    assert torch.equal(made.rope.freqs_sin, loaded.rope.freqs_sin)
    assert not made.training
    assert not any(weight.requires_grad for weight in made.parameters())


def test_weights_have_the_deviation_and_norms_are_one() -> None:
    made = make(SMALL, torch.float32)
    drawn = torch.cat([p.flatten() for n, p in made.named_parameters() if "norm" not in n])
    assert drawn.std().item() == pytest.approx(0.02, rel=0.02)
    assert abs(drawn.mean().item()) < 0.001
    norms = [p for n, p in made.named_parameters() if n.endswith(("norm_q.weight", "norm_k.weight", "norm2.weight"))]
    assert len(norms) == 3 * 5 + 1  # two each of self- and cross-attention, norm2; and norm2 of the image embedding
    assert all((weight == 1).all() for weight in norms)


def test_same_seed_same_bytes_whatever_the_global_generator() -> None:
    first = make(SMALL, seed=3)
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    second, other = make(SMALL, seed=3), make(SMALL, seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not torch.equal(first.proj_out.weight, other.proj_out.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_output_is_finite_and_depends_on_the_input(dtype: torch.dtype) -> None:
    out = forward(make(SMALL | {"num_layers": 40}, dtype), dtype)
    assert out.shape == (1, 16, 3, 4, 6)
    assert out.isfinite().all()
    assert out.float().std() > 1e-3


def test_a_text_encoder_keeps_its_tie_and_an_image_encoder_its_positions() -> None:
    text = UMT5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4).to_dict()
    for dtype, kept in ((torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)):  # "wo", for fp16 alone
        encoder: Any = random_part(UMT5EncoderModel, text, device=CPU, dtype=dtype, seed=0)
        assert encoder.encoder.embed_tokens.weight is encoder.shared.weight
        assert encoder.encoder.block[0].layer[1].DenseReluDense.wo.weight.dtype == kept
        assert encoder.shared.weight.dtype == dtype
    assert encoder(torch.tensor([[3, 4, 1]])).last_hidden_state.isfinite().all()
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    seeing: Any = random_part(CLIPVisionModel, vision.to_dict(), device=CPU, dtype=torch.float32, seed=0)
    assert torch.equal(seeing.embeddings.position_ids, torch.arange(5)[None])
    assert seeing(torch.zeros(1, 3, 28, 28)).last_hidden_state.isfinite().all()


def test_a_vae_of_random_weights_decodes() -> None:
    config = {"base_dim": 4, "num_res_blocks": 1}
    vae: Any = random_part(AutoencoderKLWan, config, device=CPU, dtype=torch.float32, seed=0)
    assert (vae.decoder.norm_out.gamma == 1).all()
    with torch.no_grad():
        assert vae.decode(torch.randn(1, 16, 2, 4, 4)).sample.isfinite().all()


def test_every_published_config_has_its_parameters() -> None:
    assert {folder.name for folder in CONFIGS.iterdir() if folder.is_dir()} == set(PARAMETERS)
    for name, count in PARAMETERS.items():
        folder = published(name)
        check_pipeline(folder)
        index = json.loads((folder / "model_index.json").read_text())
        for part in ("transformer", "transformer_2")[: 1 + (index.get("boundary_ratio") is not None)]:
            config = read_config(WanTransformer3DModel, folder / part)
            built = build_empty(WanTransformer3DModel, config, name)
            assert sum(weight.numel() for weight in built.parameters()) == count, name
            assert config["in_channels"] in CHANNELS


def test_published_text_and_image_encoders() -> None:
    """UMT5-XXL's encoder, and CLIP ViT-H/14's image half where the network looks at image tokens: alike in all."""
    alike: dict[str, set[str]] = {"text_encoder": set(), "image_encoder": set()}
    for name in PARAMETERS:
        folder = published(name)
        parts = {part.name for part in folder.iterdir() if part.is_dir()}
        assert ("image_encoder" in parts) == read_facts(folder).image_tokens
        listed = json.loads((folder / "model_index.json").read_text())
        assert {part for part, value in listed.items() if isinstance(value, list)} == parts
        for part in parts & alike.keys():
            alike[part].add((folder / part / "config.json").read_text())
    assert [len(texts) for texts in alike.values()] == [1, 1]
    folder = published("wan2.1-i2v-14b-720p")
    for cls, part, count in (
        (UMT5EncoderModel, "text_encoder", 5_680_910_336),
        (CLIPVisionModel, "image_encoder", 630_766_080),
    ):
        built = build_empty(cls, read_config(cls, folder / part), part)
        assert sum(weight.numel() for weight in built.parameters()) == count


def test_published_facts() -> None:
    facts = {name: read_facts(published(name)) for name in PARAMETERS}
    assert {name: fact.boundary for name, fact in facts.items() if fact.boundary} == {
        "wan2.2-i2v-a14b": 0.900,  # Wan-Video/Wan2.2 wan/configs/wan_i2v_A14B.py
        "wan2.2-t2v-a14b": 0.875,  # wan_t2v_A14B.py
    }
    assert {name for name, fact in facts.items() if fact.image_tokens} == {n for n in PARAMETERS if "2.1-" in n} - {
        "wan2.1-t2v-14b",
        "wan2.1-t2v-1.3b",
    }
    assert facts["wan2.2-ti2v-5b"].kind == "ti2v"
    assert facts["wan2.2-ti2v-5b"].step == 32
    shift = {n: json.loads((published(n) / "scheduler/scheduler_config.json").read_text())["flow_shift"] for n in facts}
    assert shift == {  # Wan-Video/Wan2.1 generate.py, Wan2.2 wan/configs
        "wan2.1-i2v-14b-480p": 3.0,
        "wan2.1-i2v-14b-720p": 5.0,
        "wan2.1-flf2v-14b-720p": 16.0,
        "wan2.1-t2v-14b": 5.0,
        "wan2.1-t2v-1.3b": 5.0,
        "wan2.2-i2v-a14b": 5.0,
        "wan2.2-t2v-a14b": 12.0,
        "wan2.2-ti2v-5b": 5.0,
    }


def test_bad_configs_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no published config 'wan3'; choose one of wan2\.1-flf2v-14b-720p, "):
        published("wan3")
    with pytest.raises(WeightsError, match=r"config\.json: cannot be read"):
        make(tmp_path)
    with pytest.raises(WeightsError, match="config: does not describe a WanTransformer3DModel"):
        make(SMALL | {"patch_size": "two"})
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"_class_name": "LTXVideoTransformer3DModel"}))
    with pytest.raises(WeightsError, match="of LTXVideoTransformer3DModel, where WanTransformer3DModel is wanted"):
        make(tmp_path)
