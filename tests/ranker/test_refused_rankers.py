"""Rankers as files that are damaged, edited, of something else or hostile: refused by name."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from checksums import forget_checksums
from saved_rankers import CONFIG, changed, save_as_ours, save_as_published, write_weights

from ranker.network import PatchRankingTransformer
from ranker.pretrained import encode_ranker, read_ranker


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
