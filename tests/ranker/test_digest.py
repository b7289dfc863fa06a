"""Checksums of weights, which stores note, and of files, which prove a model of ours."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import torch

from ranker.digest import file_checksums, refuse_other_files, weights_digest

WEIGHTS = {"b": torch.tensor([1.0, -2.5]), "a": torch.tensor([[0.125]])}
CONFIG = {"width": 16, "norm_eps": 1e-6}
DATA = b"weights"
CONFIG_SUM = hashlib.sha256(b'{"norm_eps": 1e-06, "width": 16}').hexdigest()
WEIGHTS_SUM = hashlib.sha256(b"weights").hexdigest()


def test_the_checksum_of_weights_is_that_which_stores_have_noted() -> None:
    """Written out here, byte for byte: another value would make every store of today another's."""
    numbers = bytes.fromhex("0000003e"), bytes.fromhex("0000803f000020c0")  # float32, little-endian
    expected = hashlib.sha256(b"before" + b"a(1, 1)" + numbers[0] + b"b(2,)" + numbers[1]).hexdigest()
    assert weights_digest(WEIGHTS, b"before") == expected
    assert weights_digest({name: tensor.half() for name, tensor in WEIGHTS.items()}, b"before") == expected


def refuse(noted: Any, config: dict[str, Any] = CONFIG, weights: bytes = DATA) -> None:
    refuse_other_files(noted, config, weights, config_url="x/mae.json", weights_url="x/mae.safetensors")


def test_files_as_they_were_written_pass_also_when_their_json_was_laid_out_anew() -> None:
    noted = file_checksums(CONFIG, DATA)
    assert noted == {"config": CONFIG_SUM, "weights": WEIGHTS_SUM}
    refuse(noted)
    refuse(noted, json.loads(json.dumps(dict(reversed(CONFIG.items())), indent=7)))


def test_files_of_earlier_versions_have_no_checksums() -> None:
    refuse(None, {}, b"anything")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights": b"weightz"}, r"^x/mae\.safetensors: not as it was written: expected SHA-256 "),
        ({"weights": b""}, r"^x/mae\.safetensors: not as it was written"),
        ({"config": {**CONFIG, "width": 17}}, r"^x/mae\.json: not as it was written.*take sha256 out of x/mae\.json$"),
        ({"config": {**CONFIG, "more": None}}, r"^x/mae\.json: not as it was written"),
    ],
)
def test_another_file_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        refuse(file_checksums(CONFIG, DATA), **changes)


@pytest.mark.parametrize("noted", [3, "abc", [], {}, {"config": CONFIG_SUM}, {"config": 1, "weights": 2, "x": 3}])
def test_checksums_that_are_none_are_refused(noted: Any) -> None:
    with pytest.raises(ValueError, match=r"^x/mae\.json: sha256: expected the checksums of config and weights, got "):
        refuse(noted)
