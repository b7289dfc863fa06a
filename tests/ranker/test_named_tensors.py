"""Weights by name, whatever wrapped them, and what of them is no plain number."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ranker.named_tensors import KEYS, refuse_misfits, refuse_unusable, shapes_of, tensors_by_name, without_wrappers

WEIGHTS = {"cls_token": torch.zeros(1), "blocks.0.norm1.weight": torch.ones(2)}


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in WEIGHTS.items()}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "model.module."]
)
def test_the_prefixes_of_wrappers_are_taken_off(prefix: str) -> None:
    assert list(without_wrappers(prefixed(prefix))) == list(WEIGHTS)


def test_what_pytorchs_own_wrappers_save_has_the_names_of_the_model() -> None:
    """As long as PyTorch has these prefixes."""
    model = nn.Linear(2, 3)
    compiled: Any = torch.compile(model, backend="eager")  # loading the default one takes seconds
    for wrapped in (compiled, nn.DataParallel(model), nn.DataParallel(compiled)):
        assert list(wrapped.state_dict()) != ["weight", "bias"]
        assert list(without_wrappers(wrapped.state_dict())) == ["weight", "bias"]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model."])
def test_a_prefix_that_only_some_names_have_is_a_part_of_the_name(prefix: str) -> None:
    mixed = {**prefixed(prefix), "mask_token": torch.zeros(1)}
    assert without_wrappers(mixed).keys() == mixed.keys()


def test_there_may_be_no_weights_at_all() -> None:
    assert without_wrappers({}) == {}


@pytest.mark.parametrize("key", KEYS)
def test_weights_lie_under_the_key_of_a_published_code(key: str) -> None:
    assert list(tensors_by_name({"epoch": 3, key: prefixed("module.")})) == list(WEIGHTS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WEIGHTS, list(WEIGHTS)),
        ({"model": WEIGHTS, "model_ema": {"x": torch.zeros(1)}}, list(WEIGHTS)),
        ({"model": "vit_base", "state_dict": WEIGHTS}, list(WEIGHTS)),
        ({"model": {**WEIGHTS, "epoch": 3}}, list(WEIGHTS)),
        ({"student": WEIGHTS}, []),
        ({}, []),
    ],
)
def test_of_several_places_the_first_that_holds_weights_is_taken(content: dict[str, Any], expected: list[str]) -> None:
    assert list(tensors_by_name(content)) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_all_usual_widths_are_weights(dtype: torch.dtype) -> None:
    refuse_unusable({"norm": torch.ones(2, dtype=dtype)}, "x.pth")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(2, dtype=torch.int8), "expected numbers in float32, float64, float16, bfloat16, got int8"),
        (torch.ones(2, dtype=torch.bool), "got bool"),
        (torch.ones(2, dtype=torch.complex64), "got complex64"),
        (torch.ones(2).to(torch.float8_e4m3fn), "got float8_e4m3fn"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "got qint8"),
        (torch.ones(2, device="meta"), "got a tensor without values"),
        (torch.ones(2, 2).to_sparse(), "got a sparse or nested tensor"),
        (torch.ones(1).expand(10**12), r"got \(1000000000000,\) repeated from fewer values"),
        (torch.tensor([1.0, torch.nan]), "expected finite numbers, got NaN or infinity"),
        (torch.tensor([1e300], dtype=torch.float64), "expected finite numbers, got NaN or infinity"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_tensors_are_refused_by_name(tensor: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^x\.pth: norm: .*{message}"):
        refuse_unusable({"cls_token": torch.zeros(1), "norm": tensor}, "x.pth")


def test_weights_are_compared_with_the_model_before_it_is_given_memory() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(100000000, 100000000\), got \(3, 2\)"):
        refuse_misfits(shapes_of(lambda: nn.Linear(10**8, 10**8)), nn.Linear(2, 3).state_dict(), "x.pth")
