"""How far two reconstructions are apart. Every distance is a pure function of one image, and larger means further.

The published code scales PSNR and SSIM over the batch, so that a score depends on the images beside it; these do not.

Shapes: B images, K removals, N masked patches, P values in a patch. The arguments are the anchor's pixels (B, N, P) and
the differences anchor - removal (B, K, N, P), in the decoder's own units; the result is (B, K).
"""

from __future__ import annotations

from torch import Tensor


def l1(anchor: Tensor, difference: Tensor) -> Tensor:
    """Mean absolute difference: the paper's choice."""
    return difference.abs().mean(dim=(-2, -1))


def l2(anchor: Tensor, difference: Tensor) -> Tensor:
    """Mean squared difference."""
    return difference.square().mean(dim=(-2, -1))


def psnr(anchor: Tensor, difference: Tensor) -> Tensor:
    """Negated peak signal-to-noise ratio in dB; the peak is the range of the anchor's values. Ranks as `l2` does."""
    power = l2(anchor, difference).clamp_min(1e-20)  # equal reconstructions are 200 dB and more, not infinitely, alike
    return 10 * (power / _range(anchor).square()).log10()


def ssim(anchor: Tensor, difference: Tensor) -> Tensor:
    """One minus the structural similarity (Wang et al., 2004), with each patch and channel as one window.

    Windows that reached across patches would take in visible ones, whose reconstructions do not count. Each of its
    two factors is one minus a share of the difference's mean or variance; so written, nothing is subtracted
    from almost one.
    """
    d = difference.unflatten(-1, (-1, 3))
    a = anchor.unflatten(-1, (-1, 3)).unsqueeze(1)
    b = a - d
    c1, c2 = ((k * _range(anchor)).square()[..., None, None] for k in (0.01, 0.03))
    luminance = d.mean(-2).square() / (a.mean(-2).square() + b.mean(-2).square() + c1)
    structure = d.var(-2, correction=0) / (a.var(-2, correction=0) + b.var(-2, correction=0) + c2)
    dissimilarity: Tensor = (luminance + structure - luminance * structure).mean(dim=(-2, -1))
    return dissimilarity


def _range(anchor: Tensor) -> Tensor:
    """(B, 1)"""
    values = anchor.flatten(1)
    return (values.amax(1, keepdim=True) - values.amin(1, keepdim=True)).clamp_min(1e-6)
