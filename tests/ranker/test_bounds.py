"""Numbers of an architecture that no machine could compute with."""

from __future__ import annotations

from typing import Any

import pytest

from ranker.bounds import refuse_impossible, refuse_impossible_eps


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", 0, "expected a whole number above 0, got 0"),
        ("depth", -3, "expected a whole number above 0, got -3"),
        ("depth", True, "expected a whole number above 0, got True"),
        ("depth", 3.0, r"expected a whole number above 0, got 3\.0"),
        ("depth", "3", "expected a whole number above 0, got '3'"),
        ("depth", None, "expected a whole number above 0, got None"),
        ("depth", 10**7, "expected at most 1000, got 10000000"),
        ("decoder_depth", 10**7, "expected at most 1000, got 10000000"),
        ("width", 10**9, "expected at most 65536, got 1000000000"),
        ("image_size", 10**9, "expected at most 32768, got 1000000000"),
        ("heads", 10**9, "expected at most 4096, got 1000000000"),
    ],
)
def test_an_impossible_number_is_refused_with_its_name(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^MAE {name}: {message}$"):
        refuse_impossible("MAE", {"width": 768, name: value})


@pytest.mark.parametrize("value", [0.0, -1e-6, float("nan"), float("inf"), 2.0, True, 1, "1e-6", None])
def test_an_impossible_eps_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^MAE norm_eps: expected a number above 0 and at most 1, got "):
        refuse_impossible_eps("MAE", value)


def test_the_largest_published_vision_transformer_is_possible() -> None:
    """ViT-22B (Dehghani et al., 2023)."""
    refuse_impossible("encoder", {"image_size": 224, "patch_size": 14, "width": 6144, "depth": 48, "heads": 48})
    refuse_impossible_eps("encoder", 1e-6)
