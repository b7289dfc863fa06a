"""`dynamicvit`: the order in which DynamicViT drops tokens (Rao et al., NeurIPS 2021;
`stages.tasks.encoders.dynamicvit`).

The score is the number of predictors that a patch had outlived before the last one that saw it, plus the probability
with which that one would keep it. Weights are those of `train-task classify --encoder dynamicvit`, or a file of the
published code (raoyongming/DynamicViT, of DeiT; those of LV-ViT, Swin and ConvNeXt are not read). The keep rate of such
a file is that of the options saved beside the weights, or else 0.7.
"""

from __future__ import annotations

from stages.methods.dropped_tokens import DroppedTokens


class DynamicVit(DroppedTokens):
    """Scores of DynamicViT."""

    encoder_name = "dynamicvit"
    rate_name = "base_rate"
