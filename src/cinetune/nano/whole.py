"""AutoencoderKLWan over a whole clip in one pass, for training.

diffusers encodes chunk by chunk with a cache of past features, which keeps memory small for long videos and is
slow for short ones. Walking the same modules over the whole clip gives the same numbers (tests/nano/test_whole.py).
A single frame needs only the last temporal tap of each causal kernel: a 2-D convolution.
"""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanCausalConv3d,
    WanMidBlock,
    WanResample,
    WanResidualBlock,
    WanUpBlock,
    patchify,
    unpatchify,
)
from jaxtyping import Float
from torch import Tensor, nn

Video = Float[Tensor, "b 3 f h w"]
Latents = Float[Tensor, "b c lf lh lw"]


def encode(vae: AutoencoderKLWan, pixels: Video) -> tuple[Latents, Latents]:
    """Return mean and log-variance of the posterior of a clip (-1..1)."""
    x = patchify(pixels, patch_size=vae.config.patch_size) if vae.config.patch_size else pixels
    encoder = vae.encoder
    x = _conv(encoder.conv_in, x)
    for layer in encoder.down_blocks:
        x = _layer(layer, x)
    x = _layer(encoder.mid_block, x)
    x = _conv(encoder.conv_out, encoder.nonlinearity(encoder.norm_out(x)))
    mean, log_variance = _conv(vae.quant_conv, x).chunk(2, dim=1)
    return mean, log_variance.clamp(-30, 20)


def decode(vae: AutoencoderKLWan, latents: Latents) -> Video:
    """Return the clip, not clamped, so that a loss keeps its gradient at the ends of the range."""
    decoder = vae.decoder
    x = _conv(decoder.conv_in, _conv(vae.post_quant_conv, latents))
    x = _layer(decoder.mid_block, x)
    for layer in decoder.up_blocks:
        x = _layer(layer, x)
    x = _conv(decoder.conv_out, decoder.nonlinearity(decoder.norm_out(x)))
    return unpatchify(x, patch_size=vae.config.patch_size) if vae.config.patch_size else x


def _layer(layer: nn.Module, x: Tensor) -> Tensor:
    match layer:
        case WanResidualBlock():
            skip = _conv(layer.conv_shortcut, x)
            h = _conv(layer.conv1, layer.nonlinearity(layer.norm1(x)))
            return _conv(layer.conv2, layer.nonlinearity(layer.norm2(h))) + skip
        case WanAttentionBlock():
            out: Tensor = layer(x)
            return out
        case WanMidBlock():
            x = _layer(layer.resnets[0], x)
            for attention, residual in zip(layer.attentions, layer.resnets[1:], strict=True):
                x = _layer(residual, x if attention is None else _layer(attention, x))
            return x
        case WanUpBlock():
            for residual in layer.resnets:
                x = _layer(residual, x)
            return x if layer.upsamplers is None else _layer(layer.upsamplers[0], x)
        case WanResample():
            return _resample(layer, x)
    raise TypeError(f"no whole-clip form of {type(layer).__name__}")


def _resample(layer: WanResample, x: Tensor) -> Tensor:
    if layer.mode == "upsample3d" and x.shape[2] > 1:
        # The first latent frame stands for one frame, every other one for two; the first is not looked back at.
        b, c, f, h, w = x[:, :, 1:].shape
        pair = layer.time_conv(x[:, :, 1:]).view(b, 2, c, f, h, w)
        x = torch.cat([x[:, :, :1], pair.permute(0, 2, 3, 1, 4, 5).reshape(b, c, 2 * f, h, w)], dim=2)
    b, c, f, h, w = x.shape
    x = layer.resample(x.transpose(1, 2).reshape(b * f, c, h, w))
    x = x.view(b, f, *x.shape[1:]).transpose(1, 2)
    if layer.mode == "downsample3d" and x.shape[2] > 1:
        x = torch.cat([x[:, :, :1], layer.time_conv(x)], dim=2)
    return x


def _conv(conv: nn.Module, x: Tensor) -> Tensor:
    if isinstance(conv, WanCausalConv3d) and x.shape[2] == 1:
        left, _, top, _, _, _ = conv._padding
        flat = F.conv2d(x[:, :, 0], conv.weight[:, :, -1], conv.bias, padding=(top, left))
        return flat.unsqueeze(2)
    out: Tensor = conv(x)
    return out


def start_as_images(vae: AutoencoderKLWan) -> None:
    """Set the temporal taps so that the untrained network treats each frame alone.

    What single frames teach then holds for clips from the first step on.
    """
    for module in vae.modules():
        if isinstance(module, WanCausalConv3d) and module.kernel_size[0] == 3:
            with torch.no_grad():
                last = module.weight[:, :, -1].clone()
                module.weight.zero_()
                module.weight[:, :, -1] = last
    for module in vae.modules():
        if isinstance(module, WanResample) and hasattr(module, "time_conv"):
            weight = module.time_conv.weight
            with torch.no_grad():
                weight.zero_()
                module.time_conv.bias.zero_()
                for channel in range(weight.shape[0]):
                    weight[channel, channel % weight.shape[1], -1] = 1.0
