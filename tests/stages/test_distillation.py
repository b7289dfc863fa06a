from __future__ import annotations

import math

import pytest
import torch

from stages.tasks.encoders.distillation import LOGITS, TOKENS, distillation_losses
from stages.tasks.kept_patches import Encoded


def test_the_losses_are_those_of_the_closed_form() -> None:
    """Two images, of which the teacher is sure by 3 : 1, and one pupil is of 1 : 1; one token of two is in use."""
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    teacher = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    tokens, theirs = torch.zeros(2, 2, 4), torch.ones(2, 2, 4)
    theirs[:, 1] = 100.0
    used = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    losses = distillation_losses(
        logits, Encoded(torch.zeros(2, 4), tokens, {}, used), {LOGITS: teacher, TOKENS: theirs}
    )
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses["teacher's classes"].item() == pytest.approx(0.5 * divergence / 2)
    assert losses["teacher's tokens"].item() == pytest.approx(0.5 * 1.0)


def test_where_all_tokens_are_in_use_all_are_compared() -> None:
    tokens = torch.randn(2, 3, 4)
    answers = {LOGITS: torch.zeros(2, 5), TOKENS: torch.zeros(2, 3, 4)}
    losses = distillation_losses(torch.zeros(2, 5), Encoded(torch.zeros(2, 4), tokens), answers)
    assert losses["teacher's classes"].item() == pytest.approx(0.0, abs=1e-7)
    assert losses["teacher's tokens"].item() == pytest.approx(0.5 * tokens.square().mean().item())


def test_without_a_teacher_there_are_none() -> None:
    assert distillation_losses(torch.zeros(1, 2), Encoded(torch.zeros(1, 4), torch.zeros(1, 1, 4)), {}) == {}
