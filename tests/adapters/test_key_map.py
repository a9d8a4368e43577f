import pytest
import torch
from made import network

from cinetune.adapters import key_map


def test_every_layer_that_can_be_adapted_has_a_name_in_all_three() -> None:
    kinds = torch.nn.Linear | torch.nn.Conv3d
    layers = [name for name, module in network().named_modules() if isinstance(module, kinds)]
    assert len(layers) == 6 * 12 + 9
    assert [key_map.from_diffusers(name) for name in layers] == layers
    assert [key_map.from_wan(key_map.to_wan(name)) for name in layers] == layers
    assert [key_map.from_kohya(key_map.to_kohya(name)) for name in layers] == layers
    assert len({key_map.to_wan(name) for name in layers}) == len({key_map.to_kohya(name) for name in layers}) == 81


@pytest.mark.parametrize(
    ("kohya", "wan", "diffusers"),
    [
        ("blocks_1_cross_attn_k", "blocks.1.cross_attn.k", "blocks.1.attn2.to_k"),
        ("blocks_11_cross_attn_k_img", "blocks.11.cross_attn.k_img", "blocks.11.attn2.add_k_proj"),
        ("blocks_0_cross_attn_v_img", "blocks.0.cross_attn.v_img", "blocks.0.attn2.add_v_proj"),
        ("blocks_39_self_attn_o", "blocks.39.self_attn.o", "blocks.39.attn1.to_out.0"),
        ("blocks_3_ffn_0", "blocks.3.ffn.0", "blocks.3.ffn.net.0.proj"),
        ("blocks_3_ffn_2", "blocks.3.ffn.2", "blocks.3.ffn.net.2"),
        ("text_embedding_2", "text_embedding.2", "condition_embedder.text_embedder.linear_2"),
        ("time_projection_1", "time_projection.1", "condition_embedder.time_proj"),
        ("img_emb_proj_3", "img_emb.proj.3", "condition_embedder.image_embedder.ff.net.2"),
        ("head_head", "head.head", "proj_out"),
    ],
)
def test_published_names(kohya: str, wan: str, diffusers: str) -> None:
    assert key_map.from_kohya(kohya) == key_map.from_wan(wan) == key_map.from_diffusers(diffusers) == diffusers
    assert (key_map.to_kohya(diffusers), key_map.to_wan(diffusers)) == (kohya, wan)


@pytest.mark.parametrize("name", ["blocks_0_cross_attn_k.img", "blocks_0_head_head", "cross_attn_k", "blocks_x_ffn_0"])
def test_a_mangled_name_is_no_layer(name: str) -> None:
    assert key_map.from_kohya(name) is None
    assert key_map.from_wan(name.replace("_", ".")) is None
    assert key_map.from_diffusers(name) is None
