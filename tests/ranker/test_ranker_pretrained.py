"""Rankers as files: ours and the published code's, read back."""

from __future__ import annotations

import dataclasses

import pytest
import safetensors.torch
import torch
from saved_rankers import CONFIG, IMAGES, MODEL, random_ranker, save_as_ours, save_as_published
from torch import nn

from ranker.network import RankerConfig
from ranker.pretrained import RankerCheckpoint, read_ranker


@torch.no_grad()
def test_a_published_checkpoint_is_read_by_its_shapes(tmp_path):
    checkpoint = read_ranker(save_as_published(tmp_path / "checkpoint-399.pth"))
    assert checkpoint.config == CONFIG
    assert checkpoint.facts == {}
    assert torch.equal(checkpoint.build().eval()(IMAGES), MODEL(IMAGES))


@pytest.mark.parametrize("prefix", ["module.score_net.", "score_net."])
def test_a_published_checkpoint_may_come_from_many_gpus(prefix, tmp_path):
    assert read_ranker(save_as_published(tmp_path / "x.pth", prefix=prefix)).config == CONFIG


def test_published_weights_may_lie_in_the_file_without_more(tmp_path):
    weights = {f"score_net.{name}": nn.Parameter(value) for name, value in MODEL.state_dict().items()}
    torch.save(weights, tmp_path / "x.pth")
    checkpoint = read_ranker(tmp_path / "x.pth")
    assert checkpoint.config == CONFIG
    assert checkpoint.sha256 == read_ranker(save_as_published(tmp_path / "y.pth")).sha256


@torch.no_grad()
@pytest.mark.parametrize("head", ["cls", "token"])
def test_ours_comes_back_with_its_config_and_facts(head, tmp_path):
    model = random_ranker(dataclasses.replace(CONFIG, head=head, heads=4, norm_eps=1e-6))
    checkpoint = read_ranker(save_as_ours(tmp_path / "ranker", model, loss="list_mle", steps=12))
    assert checkpoint.config == model.config
    assert checkpoint.facts == {"loss": "list_mle", "steps": 12}
    assert torch.equal(checkpoint.build().eval()(IMAGES), model(IMAGES))


def test_a_ranker_has_the_same_checksum_in_both_families_and_another_when_anything_differs(tmp_path):
    def checksum(config: RankerConfig = CONFIG, name: str = "norm.bias", change: float = 0.0) -> str:
        weights = {key: value + change * (key == name) for key, value in MODEL.state_dict().items()}
        return RankerCheckpoint(config, weights, {}).sha256

    ours, published = save_as_ours(tmp_path / "ours"), save_as_published(tmp_path / "x.pth")
    assert read_ranker(ours).sha256 == read_ranker(published).sha256 == checksum()
    others = [
        checksum(change=1e-3),
        checksum(name="head.bias", change=1e-3),
        checksum(dataclasses.replace(CONFIG, heads=4)),
        checksum(dataclasses.replace(CONFIG, norm_eps=1e-6)),
    ]
    assert len({checksum(), *others}) == 5


def test_a_ranker_in_training_is_written_as_any(tmp_path):
    model = random_ranker().train().requires_grad_(True)
    assert (
        read_ranker(save_as_ours(tmp_path / "ranker", model)).sha256
        == RankerCheckpoint(CONFIG, MODEL.state_dict(), {}).sha256
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_published_checkpoint_may_come_from_a_wrapper(prefix, tmp_path):
    checkpoint = read_ranker(save_as_published(tmp_path / "x.pth", prefix=f"{prefix}score_net."))
    assert checkpoint.sha256 == read_ranker(save_as_ours(tmp_path / "ranker")).sha256


def test_our_weights_in_half_precision_have_checksums_of_their_own(tmp_path):
    """A ranker may be kept in float16 on purpose: encoded as such, its files agree."""
    folder = save_as_ours(tmp_path / "ranker", random_ranker().half())
    assert read_ranker(folder).weights["norm.weight"].dtype == torch.float16
    safetensors.torch.save_file(MODEL.state_dict(), folder / "ranker.safetensors")
    with pytest.raises(ValueError, match=r"ranker\.safetensors: not as it was written"):
        read_ranker(folder)
