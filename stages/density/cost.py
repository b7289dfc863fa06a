"""What a score costs, in floating-point operations: two for each multiplication and addition of a matrix product.

Norms, activations and softmax are left out, as is usual.
"""

from __future__ import annotations

from stages.density.decoded import decoded_count
from stages.density.mae import MaeConfig
from stages.settings.choices import Decode, Removal


def density_flops(config: MaeConfig, visible: int, removal: Removal = "decoder", decode: Decode = "full") -> float:
    """One image and one mask with `visible` patches: the anchor and a reconstruction without each of them.

    Counts what `stages.density.removal` computes, savings included.
    """
    masked = decoded_count(decode, config.n_patches, visible)
    embedding = 2 * config.n_patches * config.patch_values * config.width
    if removal == "decoder":
        tokens = 1 + visible + masked
        anchor = _decoder(config, tokens, masked)
        # The first block's projections are shared with the anchor.
        removed = _decoder(config, tokens - 1, masked) - 6 * (tokens - 1) * config.decoder_width**2
        return embedding + _encoder(config, visible) + anchor + visible * removed
    one = _decoder(config, 1 + visible + masked, masked)
    return embedding + _encoder(config, visible) + one + visible * (_encoder(config, visible - 1) + one)


def _encoder(config: MaeConfig, visible: int) -> float:
    """Up to and with the projection to the decoder's width."""
    tokens = 1 + visible
    return config.depth * _block(config.width, tokens, tokens) + 2 * tokens * config.width * config.decoder_width


def _decoder(config: MaeConfig, tokens: int, masked: int) -> float:
    whole = (config.decoder_depth - 1) * _block(config.decoder_width, tokens, tokens)
    last = _block(config.decoder_width, tokens, masked)
    return whole + last + 2 * masked * config.decoder_width * config.patch_values


def _block(width: int, tokens: int, queries: int) -> float:
    projections = 6 * tokens * width**2
    attention = 4 * tokens * queries * width
    return projections + attention + (2 + 16) * queries * width**2
