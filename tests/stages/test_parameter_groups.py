"""What of a task's model learns how fast, and what decays."""

from __future__ import annotations

import dataclasses
from itertools import repeat
from typing import Any

import pytest
import torch
from task_models import CLASSES, OPTIONS, tiny_encoder
from torch import Tensor, nn

from stages.tables import TASKS
from stages.tasks.architecture import EncoderConfig
from stages.tasks.parameter_groups import parameter_groups
from stages.tasks.recipes import PRESETS
from stages.tasks.task import TaskModel
from stages.training.loop import Training
from stages.training.recipe import Recipe

DEPTH = 4
MATRIX = [("weight", 0.05), ("bias", 0.0)]
"""Of a linear layer: what decays how."""
ENCODERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "registers": {"reg_tokens": 2},
    "norm before": {"pre_norm": True},
    "layer scale": {"init_values": 0.1},
}


def model_of(task: Any, encoder: str = "plain") -> TaskModel:
    model = TASKS[task].model(tiny_encoder(depth=DEPTH, **ENCODERS[encoder]), CLASSES, OPTIONS)
    if task == "classify":
        model.encoder.vit.pos_embed.requires_grad_(False)  # as MAE's
    return model


def settings_of(model: TaskModel, groups: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """By name: how fast it learns, and its weight decay."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [
        (names[id(each)], (group.get("lr_scale", 1.0), group["weight_decay"]))
        for group in groups
        for each in group["params"]
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


each_task = pytest.mark.parametrize("task", TASKS)


@each_task
@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_weight_that_is_trained_is_in_one_group(task, encoder) -> None:
    model = model_of(task, encoder)
    found = settings_of(model, parameter_groups(model, 0.05, 0.75))
    assert found.keys() == {name for name, each in model.named_parameters() if each.requires_grad}
    assert ("encoder.vit.pos_embed" in found) == (task != "classify")


@each_task
@pytest.mark.parametrize("encoder", ENCODERS)
def test_biases_norms_tokens_and_positions_do_not_decay_and_all_else_does(task, encoder) -> None:
    model = model_of(task, encoder)
    for name, (_, decay) in settings_of(model, parameter_groups(model, 0.05, 0.75)).items():
        is_token = name.endswith(("cls_token", "reg_token", "pos_embed", "dropped"))
        expected = 0.0 if is_token or model.get_parameter(name).ndim == 1 else 0.05
        assert decay == expected, name


@each_task
@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_block_learns_slower_than_the_next_and_the_last_slower_than_the_head(task, encoder) -> None:
    """What comes before the first block learns slowest."""
    model = model_of(task, encoder)
    for name, (scale, _) in settings_of(model, parameter_groups(model, 0.05, 0.75)).items():
        inner = name.removeprefix("encoder.vit.")
        if name == inner:
            layer = DEPTH + 1  # the head
        elif inner.startswith("norm."):
            layer = DEPTH  # with the last block
        elif inner.startswith("blocks."):
            layer = int(inner.split(".")[1]) + 1
        else:
            layer = 0
        assert scale == pytest.approx(0.75 ** (DEPTH + 1 - layer)), name


@pytest.mark.parametrize(("preset", "decay"), [("fine-tuning", 0.65), ("ltrp", 0.75)])
def test_fine_tuning_has_the_published_groups(preset: str, decay: float) -> None:
    """Those of facebookresearch/mae, which LTRP's code has too, for a transformer of four blocks with global pooling,
    by its own names, written out: CLS, positions (which are fixed) and patch embedding are layer 0, blocks 1 to 4, the
    norm and the head 5."""
    recipe = PRESETS[preset]
    encoder = EncoderConfig(
        image_size=64, patch_size=8, width=32, depth=DEPTH, heads=2, final_norm=recipe.final_norm
    ).build()
    model = TASKS["classify"].model(encoder, CLASSES, OPTIONS)
    expected = {"encoder.vit.cls_token": (decay**5, 0.0)}
    expected |= {f"encoder.vit.patch_embed.proj.{name}": (decay**5, wd) for name, wd in MATRIX}
    for block, scale in enumerate([decay**4, decay**3, decay**2, decay]):
        for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            expected |= {f"encoder.vit.blocks.{block}.{layer}.{name}": (scale, wd) for name, wd in MATRIX}
        for norm in ("norm1", "norm2"):
            expected |= {f"encoder.vit.blocks.{block}.{norm}.{name}": (scale, 0.0) for name in ("weight", "bias")}
    expected |= {f"norm.{name}": (1.0, 0.0) for name in ("weight", "bias")}  # fc_norm there
    expected |= {f"head.{name}": (1.0, wd) for name, wd in MATRIX}
    found = settings_of(model, parameter_groups(model, recipe.weight_decay, recipe.layer_decay))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values), name


def test_without_layer_decay_everything_learns_alike() -> None:
    model = model_of("segment")
    assert {scale for scale, _ in settings_of(model, parameter_groups(model, 0.05, 1.0)).values()} == {1.0}


RECIPE = Recipe(steps=4, warmup_steps=2, batch_size=256, base_learning_rate=0.1, weight_decay=9.0)
ONE_STEP = dataclasses.replace(RECIPE, steps=1, warmup_steps=0)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))

    def train_on(self, gradient: float, recipe: Recipe, slow_decay: float = 0.0) -> None:
        """On a loss of that gradient everywhere."""
        groups = [
            {"params": [self.slow], "lr_scale": 0.5, "weight_decay": slow_decay},
            {"params": [self.fast], "weight_decay": 0.0},
        ]

        def objective(_: None) -> dict[str, Tensor]:
            return {"loss": gradient * (self.slow.sum() + self.fast.sum())}

        training = Training(self, objective, recipe, groups=groups)
        training.run(repeat(None), report=lambda _: None, report_every=1, save=lambda *_: None, save_every=99)


def test_training_takes_a_groups_rate_times_its_scale_at_each_step(monkeypatch) -> None:
    rates: list[list[float]] = []
    step = torch.optim.AdamW.step

    def note(optimizer, *args, **options):
        rates.append([group["lr"] for group in optimizer.param_groups])
        return step(optimizer, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    Two().train_on(1.0, RECIPE)
    expected = [RECIPE.learning_rate(number) for number in range(4)]
    assert len(set(expected)) > 1
    assert [fast for _, fast in rates] == pytest.approx(expected)
    assert [slow for slow, _ in rates] == pytest.approx([0.5 * rate for rate in expected])


def test_in_one_step_half_the_scale_goes_half_as_far() -> None:
    """Adam's first step is as long as the rate, whatever the gradient."""
    model = Two()
    model.train_on(3.0, ONE_STEP)
    torch.testing.assert_close(model.fast.detach(), torch.full((3, 2), 1 - 0.1))
    torch.testing.assert_close(model.slow.detach(), torch.full((3, 2), 1 - 0.05))


def test_a_group_keeps_its_own_weight_decay_and_not_the_recipes() -> None:
    """Without a gradient only decay moves a weight: by rate times decay."""
    model = Two()
    model.train_on(0.0, ONE_STEP, slow_decay=0.4)
    torch.testing.assert_close(model.fast.detach(), torch.ones(3, 2))
    torch.testing.assert_close(model.slow.detach(), torch.full((3, 2), 1 - 0.05 * 0.4))
