"""Glance and Focus on disk: ours, and files of the published code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from glances import SMALL_GLANCE, small_network
from torch import Tensor

from stages.glancing import files
from stages.glancing.files import MODEL_FILE, WEIGHTS_FILE, SavedGlance, load_glance, read_published, save_glance
from stages.glancing.learning import follow, look_around
from stages.glancing.network import GlanceAndFocus, GlanceConfig
from stages.tasks.task import Classes
from storage.locations import locate

IMAGES = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
CLASSES = Classes((0, 1, 2, 5, 9), ("a", "b", "c", "d", "größer"))
SAVED = SavedGlance(SMALL_GLANCE, CLASSES, {"seed": 3}, (0.25, 0.5, 0.75))


@torch.no_grad()
def answers(network: GlanceAndFocus, images: Tensor = IMAGES) -> Tensor:
    return torch.stack([each.logits for each in look_around(network, images, follow(network))])


def test_what_was_saved_is_loaded_and_answers_the_same(tmp_path: Path) -> None:
    network = small_network()
    save_glance(locate(tmp_path), network, SAVED)
    saved, loaded = load_glance(locate(tmp_path))
    assert saved == SAVED
    assert not loaded.training
    assert torch.equal(answers(loaded), answers(network))
    assert not torch.equal(answers(small_network(seed=1)), answers(network))


def refused(place: Path, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        load_glance(locate(place))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("part", "value"),
    [("looks", 0), ("looks", "two"), ("window", 100), ("window", 20), ("patch_size", 7), ("width", 0)],
)
def test_a_description_that_is_damaged_is_refused_in_one_line(part: str, value: Any, tmp_path: Path) -> None:
    save_glance(locate(tmp_path), small_network(), SAVED)
    path = tmp_path / MODEL_FILE
    description = json.loads(path.read_text())
    description["config"][part] = value
    path.write_text(json.dumps(description))
    refused(tmp_path, r"gfnet\.json: (expected what train-gfnet writes|not as it was written)")


def test_other_weights_and_other_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", r"no model of train-gfnet there: expected a folder with gfnet\.json, got nothing")
    save_glance(locate(tmp_path), small_network(), SAVED)
    save_glance(locate(tmp_path / "other"), small_network(seed=1), SAVED)
    (tmp_path / WEIGHTS_FILE).write_bytes((tmp_path / "other" / WEIGHTS_FILE).read_bytes())
    refused(tmp_path, r"gfnet\.safetensors: not as it was written")
    (tmp_path / WEIGHTS_FILE).unlink()
    refused(tmp_path, r"gfnet\.safetensors: missing")


def published(network: GlanceAndFocus) -> dict[str, Any]:
    """As the published training saves: a state for each of four parts, and numbers beside them."""
    parts = {key: getattr(network, name).state_dict() for key, name in files.PARTS.items()}
    return {"epoch": 3, "acc": 71.5, "best_acc": 72.0, "optimizer": None, "ppo_optimizer": {"state": {}}, **parts}


@pytest.fixture
def like_published(monkeypatch: pytest.MonkeyPatch) -> GlanceAndFocus:
    """A network of the published sizes, but for a backbone and layers that are small."""
    monkeypatch.setattr(files, "PUBLISHED_BACKBONE", "test_resnet")
    sizes: dict[str, Any] = {"image_size": 224, "window": 96, "patch_size": 16, "looks": 4}
    return small_network(**sizes, policy="linear", policy_hidden=24, policy_width=12, width=20)


def test_a_published_checkpoint_is_read_by_its_names(like_published: GlanceAndFocus, tmp_path: Path) -> None:
    torch.save(published(like_published), tmp_path / "gf.pth")
    config, network = read_published((tmp_path / "gf.pth").read_bytes(), "gf.pth")
    assert config == like_published.config
    images = torch.randn(1, 3, 224, 224)
    assert torch.equal(answers(network, images), answers(like_published, images))


def test_the_names_are_those_of_the_published_code() -> None:
    """network.py of blackfeather-wang/GFNet-Pytorch, and torchvision's names of a ResNet."""
    with torch.device("meta"):
        config = GlanceConfig(
            image_size=224, window=96, patch_size=16, backbone="resnet50", looks=4, width=1024, policy_width=1024,
            policy="linear", policy_hidden=2048,
        )  # fmt: skip
        weights = GlanceAndFocus(config, 1000).state_dict()
    shapes = {name: tuple(each.shape) for name, each in weights.items()}
    assert shapes["policy.state_encoder.0.weight"] == (2048, 2048 * 3 * 3)
    assert shapes["policy.state_encoder.2.weight"] == (1024, 2048)
    assert shapes["policy.actor.0.weight"] == (2, 1024)
    assert shapes["policy.critic.0.weight"] == (1, 1024)
    assert shapes["policy.gru.weight_ih_l0"] == shapes["policy.gru.weight_hh_l0"] == (3072, 1024)
    assert shapes["classifier.rnn.weight_ih_l0"] == (3072, 2048)
    assert shapes["classifier.fc.weight"] == shapes["classifier.fc.weight"] == (1000, 1024)
    for part in ("glance", "focus"):
        assert shapes[f"{part}.conv1.weight"] == (64, 3, 7, 7)
        assert shapes[f"{part}.layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
        assert shapes[f"{part}.layer4.2.bn3.running_var"] == (2048,)
        assert shapes[f"{part}.fc.weight"] == (1000, 2048)


def test_other_checkpoints_are_refused_in_one_line(like_published: GlanceAndFocus, tmp_path: Path) -> None:
    def refused(content: Any, message: str) -> None:
        torch.save(content, tmp_path / "gf.pth")
        with pytest.raises(ValueError, match=message) as raised:
            read_published((tmp_path / "gf.pth").read_bytes(), "gf.pth")
        assert "\n" not in str(raised.value)

    whole = published(like_published)
    refused(
        {"model": {"head.weight": torch.zeros(2, 2)}}, r"gf\.pth: expected a published GFNet with model_prime_state"
    )
    refused({**whole, "policy": None}, r"found no policy \(a file of its first step has no policy\)")
    refused({**whole, "policy": {"gru.bias": torch.zeros(2)}}, "expected a published GFNet of ResNet-50: 'policy.state")
    fewer = {name: each for name, each in whole["fc"].items() if name != "fc.bias"}
    refused({**whole, "fc": fewer}, r"gf\.pth: not the weights of its architecture: classifier\.fc\.bias is missing")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"backbone": "test_vit"},
            "backbone test_vit: expected a convolutional network of timm, whose features of a window",
        ),
        ({"backbone": "resnet_enormous"}, "backbone resnet_enormous: expected a convolutional network of timm: "),
        ({"looks": 0}, "glance looks: expected 1 to 100, got 0"),
        ({"window": 56}, "glance window: expected 1 to the image's 48, got 56"),
        ({"window": 20}, "glance window: expected a multiple of the patch size 8, got 20"),
        ({"image_size": 50}, "glance image_size: expected a multiple of the patch size 8, got 50"),
    ],
)
def test_networks_that_cannot_be_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        small_network(**changed)
    assert "\n" not in str(raised.value)
