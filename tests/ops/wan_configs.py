"""Configs of published Wan networks, as their transformer/config.json has them, and small ones of the same kinds."""

from typing import Any

I2V_14B: dict[str, Any] = {
    "_class_name": "WanTransformer3DModel", "patch_size": [1, 2, 2], "num_attention_heads": 40,
    "attention_head_dim": 128, "in_channels": 36, "out_channels": 16, "text_dim": 4096, "freq_dim": 256,
    "ffn_dim": 13824, "num_layers": 40, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads",
    "image_dim": 1280, "added_kv_proj_dim": 5120,
}  # fmt: skip
T2V_14B = I2V_14B | {"in_channels": 16, "image_dim": None, "added_kv_proj_dim": None}
T2V_1B = T2V_14B | {"num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960}
TI2V_5B = T2V_14B | {
    "num_layers": 30, "num_attention_heads": 24, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48
}  # fmt: skip
PUBLISHED = {"I2V-14B": I2V_14B, "T2V-14B": T2V_14B, "T2V-1.3B": T2V_1B, "TI2V-5B": TI2V_5B}

SMALL = {
    "num_attention_heads": 8, "attention_head_dim": 32, "text_dim": 32, "freq_dim": 32, "ffn_dim": 692,
    "num_layers": 3,
}  # fmt: skip
SMALL_I2V = I2V_14B | SMALL | {"image_dim": 32, "added_kv_proj_dim": 256}
SMALL_T2V = T2V_14B | SMALL

CROSS = r"blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0|add_[kv]_proj)"
CROSS_TEXT = r"blocks\.\d+\.attn2\.(to_[qkv]|to_out\.0)"
ATTENTION = r"blocks\.\d+\.attn[12]\.(to_[qkv]|to_out\.0|add_[kv]_proj)"
ALL_LINEAR = r"blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0|add_[kv]_proj)|ffn\.net\.(0\.proj|2))"
