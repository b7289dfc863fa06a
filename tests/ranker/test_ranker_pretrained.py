"""Rankers as files: ours and the published code's, read back, and what is refused."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from checksums import forget_checksums
from torch import Tensor, nn

from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pretrained import RankerCheckpoint, encode_ranker, read_ranker

CONFIG = RankerConfig(image_size=32, patch_size=8, width=128, depth=2, heads=2)
"""Heads are 64 wide, as in all published rankers."""
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def random_ranker(config: RankerConfig = CONFIG) -> PatchRankingTransformer:
    torch.manual_seed(0)
    return PatchRankingTransformer(config).eval()


MODEL = random_ranker()


def save_as_ours(folder: Path, model: PatchRankingTransformer = MODEL, **facts: object) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in encode_ranker(model, facts).items():
        (folder / name).write_bytes(data)
    return folder


def write_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    """In the place of those that were saved."""
    safetensors.torch.save_file(weights, folder / "ranker.safetensors")
    forget_checksums(folder / "ranker.json")


def save_as_published(path: Path, weights: dict[str, Tensor] | None = None, prefix: str = "score_net.") -> Path:
    """As the published code saves it: all of its model, the optimiser's state, and its options."""
    weights = MODEL.state_dict() if weights is None else weights
    content = {
        "model": {"mask_model.cls_token": torch.zeros(1), **{prefix + name: value for name, value in weights.items()}},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.95)}]},
        "epoch": 399,
        "args": argparse.Namespace(model="vit_small", lr=None, distributed=True, output_dir="out"),
    }
    torch.save(content, path)
    return path


def changed(name: str, value: Tensor | None) -> dict[str, Tensor]:
    """The weights with one tensor added, in the place of another, or taken away."""
    weights = {**MODEL.state_dict(), name: value}
    return {name: tensor for name, tensor in weights.items() if tensor is not None}


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


# What is refused


@pytest.mark.parametrize("place", [0, 5, 100, -5000, -1])
def test_a_flipped_bit_in_our_weights_is_refused_by_name(place, tmp_path):
    folder = save_as_ours(tmp_path / "ranker")
    data = bytearray((folder / "ranker.safetensors").read_bytes())
    data[place] ^= 1
    (folder / "ranker.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"ranker\.safetensors: not as it was written: expected SHA-256 "):
        read_ranker(folder)


def test_an_architecture_that_was_edited_is_refused_where_the_weights_do_not_show_it(tmp_path):
    folder = save_as_ours(tmp_path / "ranker")
    file = folder / "ranker.json"
    file.write_text(file.read_text().replace('"heads": 2', '"heads": 4'))
    with pytest.raises(ValueError, match=r"ranker\.json: not as it was written: expected SHA-256 "):
        read_ranker(folder)
    forget_checksums(file)
    assert read_ranker(folder).config.heads == 4


@pytest.mark.parametrize("name", ["nothing", "nothing.pth"])
def test_a_path_that_is_not_there_is_told_by_name(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{name}: no ranker there: expected a folder with ranker\.json"):
        read_ranker(tmp_path / name)


def test_weights_that_are_missing_beside_their_description_are_told_by_name(tmp_path):
    os.remove(save_as_ours(tmp_path / "ranker") / "ranker.safetensors")
    with pytest.raises(FileNotFoundError, match=r"ranker\.safetensors"):
        read_ranker(tmp_path / "ranker")


@pytest.mark.parametrize(
    "content",
    [
        {"model": {"cls_token": torch.zeros(1, 1, 4)}},
        {"model": {"score_net.epoch": 3}},
        {"model": "vit"},
        {"model": [torch.zeros(3)]},
        {"model": {3: torch.zeros(3)}},
        {},
    ],
    ids=repr,
)
def test_a_checkpoint_without_a_ranker_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    message = r"x\.pth: expected (a published ranker, with weights named score_net\.\*|tensors by name, under a key)"
    with pytest.raises(ValueError, match=message):
        read_ranker(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [[torch.zeros(3)], torch.zeros(3)], ids=["list", "Tensor"])
def test_a_checkpoint_that_is_no_dictionary_is_refused(content, request, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    came = request.node.callspec.id
    with pytest.raises(ValueError, match=rf"x\.pth: expected a dictionary of tensors, got {came}"):
        read_ranker(tmp_path / "x.pth")


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_a_pickle_that_runs_code_is_refused_and_not_run(save, tmp_path):
    args = argparse.Namespace(out=MakesFolder(tmp_path / "made"))
    save({"model": {"score_net.norm.bias": torch.zeros(4)}, "args": args}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth: not a checkpoint of tensors that can be read safely") as refusal:
        read_ranker(tmp_path / "x.pth")
    assert not (tmp_path / "made").exists()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused_with_its_name(share, tmp_path):
    ours, published = save_as_ours(tmp_path / "ranker"), save_as_published(tmp_path / "x.pth")
    forget_checksums(ours / "ranker.json")
    for path, file in ((ours, ours / "ranker.safetensors"), (published, published)):
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(
            ValueError, match=r"expected a whole safetensors|not a checkpoint of tensors that can be read safely"
        ) as refusal:
            read_ranker(path)
        assert str(refusal.value).startswith(str(file))


@pytest.mark.parametrize("data", [b"\x80", b"\x80\x02.", b"PK\x03\x04", b"garbage\n", b"\x80\x02}q\x00(U\x01aK"])
def test_bytes_that_are_no_checkpoint_are_refused(data, tmp_path):
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.pth: not a checkpoint of tensors that can be read safely"):
        read_ranker(tmp_path / "x.pth")


WRONG_WEIGHTS = [
    (changed("norm.weight", torch.zeros(7)), r"norm\.weight: expected shape \(128,\), got \(7,\)"),
    (
        changed("norm.weight", torch.full((128,), torch.nan)),
        r"norm\.weight: expected finite numbers, got NaN or",
    ),
    (
        changed("cls_token", torch.full((1, 1, 128), torch.inf)),
        "cls_token: expected finite numbers, got NaN or",
    ),
    (changed("blocks.1.attn.qkv.bias", None), r"blocks\.1\.attn\.qkv\.bias is missing"),
    (changed("blocks.x.attn.qkv.bias", torch.zeros(3)), r"(is missing; .*|blocks\.x\.attn\.qkv\.bias is unknown)"),
    (changed("fc.weight", torch.zeros(3)), r"fc\.weight is unknown"),
]


@pytest.mark.parametrize(
    ("weights", "message"), WRONG_WEIGHTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_wrong_weights_are_refused_with_the_tensors_name(weights, message, tmp_path):
    published = save_as_published(tmp_path / "x.pth", weights)
    with pytest.raises(ValueError, match=message) as refusal:
        read_ranker(published)
    assert str(refusal.value).startswith(str(published))
    ours = save_as_ours(tmp_path / "ranker")
    write_weights(ours, weights)
    with pytest.raises(ValueError, match=message) as refusal:
        read_ranker(ours)
    assert str(refusal.value).startswith(str(ours / "ranker.safetensors"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("head.weight", None, r"'head\.weight' is missing"),
        ("patch_embed.proj.weight", None, r"'patch_embed\.proj\.weight' is missing"),
        ("head.weight", torch.zeros(3), "not a vision transformer that ranks patches"),
        ("patch_embed.proj.weight", torch.tensor(0.0), "not a vision transformer that ranks patches"),
        ("head.weight", torch.zeros(15, 128), r"head\.\w+: expected shape \(16,"),
        ("head.weight", torch.zeros(0, 128), "ranker image_size: expected a whole number above 0, got 0"),
    ],
)
def test_published_weights_whose_shapes_tell_no_architecture_are_refused(name, value, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_ranker(save_as_published(tmp_path / "x.pth", changed(name, value)))


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"[]",
        b"3",
        b"\xff\xfe",
        b"{}",
        b'{"config": 3}',
        b'{"config": {"colour": 1}}',
        b"[" * 100_000,
        b'{"config": {"depth": 10000000}}',
        b'{"config": {"heads": true}}',
        b'{"config": {"norm_eps": Infinity}}',
        json.dumps({"config": {**dataclasses.asdict(CONFIG), "width": 130}}).encode(),
    ],
)
def test_a_description_that_is_none_is_refused(description, tmp_path):
    (save_as_ours(tmp_path / "ranker") / "ranker.json").write_bytes(description)
    with pytest.raises(ValueError, match=r"ranker/ranker\.json: expected a ranker's description: .+"):
        read_ranker(tmp_path / "ranker")


def test_weights_of_another_architecture_than_described_are_refused(tmp_path):
    folder = save_as_ours(tmp_path / "ranker")
    other = dataclasses.replace(CONFIG, width=64)
    (folder / "ranker.json").write_bytes(encode_ranker(PatchRankingTransformer(other), {})["ranker.json"])
    forget_checksums(folder / "ranker.json")
    message = r"ranker\.safetensors: not the weights of .*: expected shape \(.*64.*\), got \(.*128.*\)"
    with pytest.raises(ValueError, match=message):
        read_ranker(folder)
