"""`evit`: the order in which EViT drops tokens (Liang et al., ICLR 2022; `stages.tasks.encoders.evit`).

The score is the number of dropping blocks that a patch outlived plus CLS's attention to it, in the block that dropped
it or else in the last one. Weights are those of `train-task classify --encoder evit`, or a file of the published code
(youweiliang/evit), whose names are DeiT's: a file does not tell that it was trained so. The keep rate of such a file is
that of the options saved beside the weights, or else 0.7; of distilled ones (a second token) nothing is read.
"""

from __future__ import annotations

from stages.methods.dropped_tokens import DroppedTokens


class Evit(DroppedTokens):
    """Scores of EViT."""

    encoder_name = "evit"
    rate_name = "base_keep_rate"
