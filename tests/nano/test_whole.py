"""The whole-clip VAE against diffusers' chunk by chunk one."""

import torch

from cinetune.nano import vae as nano_vae
from cinetune.nano import whole


def scrambled() -> torch.nn.Module:
    vae = nano_vae.build(0, base_dim=8).eval()
    g = torch.Generator().manual_seed(1)
    for weight in vae.parameters():  # identity-like temporal taps would hide an error in time
        weight.data += 0.1 * torch.randn(weight.shape, generator=g)
    return vae


def test_encode_and_decode_equal_the_chunked_ones() -> None:
    vae = scrambled()
    g = torch.Generator().manual_seed(2)
    for frames in (1, 5, 17):
        pixels = torch.rand(1, 3, frames, 32, 48, generator=g) * 2 - 1
        with torch.no_grad():
            mean, log_variance = whole.encode(vae, pixels)
            theirs = vae.encode(pixels).latent_dist
            assert torch.allclose(mean, theirs.mean, atol=1e-5)
            assert torch.allclose(log_variance, theirs.logvar, atol=1e-5)
            decoded = whole.decode(vae, mean).clamp(-1, 1)
            assert torch.allclose(decoded, vae.decode(mean).sample, atol=2e-5)


def test_starting_as_images_treats_every_frame_alone() -> None:
    vae = nano_vae.build(3, base_dim=8).eval()
    frame = torch.rand(1, 3, 1, 32, 48, generator=torch.Generator().manual_seed(4)) * 2 - 1
    with torch.no_grad():
        one = whole.decode(vae, whole.encode(vae, frame)[0])
        still = frame.expand(-1, -1, 9, -1, -1)
        many = whole.decode(vae, whole.encode(vae, still)[0])
    assert torch.allclose(many, one.expand_as(many), atol=1e-5)
