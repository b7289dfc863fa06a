"""What an encoder that drops tokens learns from a trained model that drops none (Rao et al., NeurIPS 2021, section
3.3): its probabilities of classes, and its tokens where these are still in use. The losses have the published weights.

The teacher's answers come along with the targets, so that it is no part of the model that is trained.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import kl_div

from stages.tasks.kept_patches import Encoded
from stages.tasks.task import Targets

WEIGHT = 0.5
"""Of either loss."""
LOGITS, TOKENS = "teacher.logits", "teacher.tokens"
"""Names of targets: (B, C), and (B, k, D) after the last norm."""


def distillation_losses(logits: Tensor, encoded: Encoded, targets: Targets) -> dict[str, Tensor]:
    """Weighted losses by name, of logits (B, C) and what they were made from; none without a teacher's answers.

    The Kullback-Leibler divergence of the classes from the teacher's, mean over images, and the mean squared difference
    of tokens from the teacher's over those that are still in use.
    """
    if LOGITS not in targets:
        return {}
    student, teacher = logits.float().log_softmax(dim=1), targets[LOGITS].float().log_softmax(dim=1)
    classes = kl_div(student, teacher, reduction="batchmean", log_target=True)
    different = (encoded.tokens.float() - targets[TOKENS].float()).square().mean(dim=2)
    used = different.new_ones(different.shape) if encoded.used is None else encoded.used.to(different.dtype)
    tokens = (different * used).sum() / used.sum().clamp(min=1)
    return {"teacher's classes": WEIGHT * classes, "teacher's tokens": WEIGHT * tokens}
