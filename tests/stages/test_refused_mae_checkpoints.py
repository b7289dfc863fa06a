"""Checkpoints that are no MAE of ours to read: damaged, half there, of something else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from checksums import forget_checksums
from saved_maes import (
    FAMILIES,
    MODEL,
    changed,
    published_names,
    save_as_facebook,
    save_as_hugging_face,
    save_as_ours,
)
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.density.mae_checkpoints import load_mae


def write_tensors(folder: str, weights: dict[str, Tensor]) -> None:
    """In the place of those that were saved."""
    safetensors.torch.save_file(weights, Path(folder, "mae.safetensors"))
    forget_checksums(Path(folder, "mae.json"))


def test_one_file_of_a_folder_is_refused_with_the_folder(tmp_path):
    ours, hub = save_as_ours(tmp_path / "mae"), save_as_hugging_face(tmp_path / "hub")
    for path in (f"{ours}/mae.safetensors", f"{ours}/mae.json", f"{hub}/model.safetensors", f"{hub}/config.json"):
        with pytest.raises(ValueError, match=r"expected a folder, got one of its files: name the folder, ") as refused:
            load_mae(path)
        assert str(refused.value).endswith(str(Path(path).parent))


def test_names_that_are_no_maes_are_told_and_not_taken_for_an_encoder(tmp_path):
    weights = {f"student.backbone.{name}": tensor for name, tensor in MODEL.state_dict().items()}
    path = save_as_facebook(tmp_path / "x.pth", weights)
    with pytest.raises(ValueError, match=r"x\.pth: expected the weights of an MAE, .* student\.backbone\.blocks\.0"):
        load_mae(path)


def test_a_model_that_is_half_written_is_not_there(tmp_path):
    os.remove(Path(save_as_ours(tmp_path / "mae")) / "mae.json")
    with pytest.raises(ValueError, match=r"mae: no MAE there: expected .* got a folder with mae\.safetensors"):
        load_mae(str(tmp_path / "mae"))


def test_weights_that_are_missing_beside_their_description_are_told_by_name(tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    os.remove(tmp_path / "mae" / "mae.safetensors")
    with pytest.raises(FileNotFoundError, match=r"mae\.safetensors"):
        load_mae(ours)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("{", "expected a JSON object, got something else"),
        ("{}", "'config' is missing"),
        ('{"config": {"widht": 32}}', "not the architecture of an MAE: .*'widht'"),
        ('{"config": {"norm_eps": 0.0}}', "MAE norm_eps: expected a number above 0"),
        ("[" * 100_000, "expected a JSON object, got JSON that is nested too deeply"),
        ("[1]", "expected a JSON object, got a list"),
        ('{"config": [1]}', "not the architecture of an MAE"),
        ('{"config": {"depth": 10000000}}', "MAE depth: expected at most 400, got 10000000"),
        ('{"config": {"width": 1000000000}}', "MAE width: expected at most 65536, got 1000000000"),
        ('{"config": {"heads": true}}', "MAE heads: expected a whole number above 0, got True"),
        ('{"config": {"image_size": 32000, "patch_size": 16}}', "expected at most 32767 patches, got 2000 x 2000"),
        ('{"config": {"image_size": 32.5}}', "MAE image_size: expected a whole number above 0, got 32.5"),
    ],
)
def test_a_description_of_ours_that_is_damaged_is_refused(description, message, tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    Path(ours, "mae.json").write_text(description)
    with pytest.raises(ValueError, match=rf"mae\.json: .*{message}"):
        load_mae(ours)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: (path.mkdir(), (path / "photo.jpg").touch())])
def test_a_folder_without_an_mae_is_refused(make, tmp_path):
    make(tmp_path / "folder")
    with pytest.raises(
        (ValueError, FileNotFoundError),
        match=r"folder: no MAE there: expected a folder with mae\.json, a",
    ):
        load_mae(str(tmp_path / "folder"))


@pytest.mark.parametrize("name", ["nothing", "nothing.pth"])
def test_a_path_that_is_not_there_is_told_by_name(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        load_mae(str(tmp_path / name))


def without_decoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(("decoder", "mask_token"))}


def encoder_of_ours(folder: Path) -> str:
    ours = save_as_ours(folder / "mae")
    write_tensors(ours, without_decoder(MODEL.state_dict()))
    return ours


def encoder_of_facebook(folder: Path) -> str:
    return save_as_facebook(folder / "mae_pretrain_vit_base.pth", without_decoder(MODEL.state_dict()))


def encoder_of_timm(folder: Path) -> str:
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=0)
    torch.save(vit.state_dict(), folder / "vit_base_patch16_224.mae.pth")
    return str(folder / "vit_base_patch16_224.mae.pth")


def encoder_of_hugging_face(folder: Path) -> str:
    weights = published_names(MODEL.state_dict())
    encoder = {name.removeprefix("vit."): value for name, value in weights.items() if name.startswith("vit.")}
    path = save_as_hugging_face(folder / "hub")
    safetensors.torch.save_file(encoder, folder / "hub" / "model.safetensors")
    return path


@pytest.mark.parametrize("save", [encoder_of_ours, encoder_of_facebook, encoder_of_timm, encoder_of_hugging_face])
def test_an_encoder_without_its_decoder_is_refused_by_name(save, tmp_path):
    path = save(tmp_path)
    with pytest.raises(ValueError, match=r"an encoder without its decoder.*mae_visualize_vit") as refusal:
        load_mae(path)
    assert str(refusal.value).startswith(path)


def test_a_timm_folder_is_refused_as_an_encoder_too(tmp_path):
    (tmp_path / "config.json").write_text('{"architecture": "vit_base_patch16_224", "num_classes": 0}')
    with pytest.raises(ValueError, match=r"config\.json: expected model_type 'vit_mae', got None; an encoder without"):
        load_mae(str(tmp_path))


WEIGHTS_FILES = {
    "ours": "ours/mae.safetensors",
    "facebook": "mae_visualize_vit_small.pth",
    "hugging face": "hub/model.safetensors",
    "hugging face, pickled": "hub/pytorch_model.bin",
}


@pytest.mark.parametrize("family", WEIGHTS_FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused_with_its_name(family, share, tmp_path):
    path = FAMILIES[family](tmp_path)
    file = tmp_path / WEIGHTS_FILES[family]
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    if family == "ours":
        forget_checksums(file.with_name("mae.json"))
    with pytest.raises(ValueError, match=r"(expected a whole safetensors file|not a checkpoint of tensors)") as refusal:
        load_mae(path)
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("family", ["facebook", "hugging face, pickled"])
@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_a_pickle_that_runs_code_is_refused_and_not_run(save, family, tmp_path):
    path = FAMILIES[family](tmp_path)
    save({"model": MakesFolder(tmp_path / "made")}, tmp_path / WEIGHTS_FILES[family])
    with pytest.raises(ValueError, match="not a checkpoint of tensors that can be read safely"):
        load_mae(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(3)], "expected a dictionary of tensors, got list"),
        (
            {"epoch": 3, "state": "x"},
            r"expected tensors by name, under a key such as 'model' or not, got epoch, state$",
        ),
        ({"model": "vit"}, "expected tensors by name"),
    ],
)
def test_a_pickle_of_something_else_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "mae_visualize_x.pth")
    with pytest.raises(ValueError, match=message):
        load_mae(str(tmp_path / "mae_visualize_x.pth"))


WRONG_WEIGHTS = [
    (changed("blocks.1.attn.qkv.bias", None), r"blocks\.1\.attn\.qkv\.bias is missing"),
    (changed("mask_token", None), "mask_token is missing"),
    (changed("head.weight", torch.zeros(3)), r"head\.weight is unknown"),
    (changed("norm.weight", torch.zeros(7)), r"norm\.weight: expected shape \(32,\), got \(7,\)"),
    (
        changed("norm.weight", torch.full((32,), torch.nan)),
        r"norm\.weight: expected finite numbers, got NaN",
    ),
    (
        changed("cls_token", torch.full((1, 1, 32), torch.inf)),
        "cls_token: expected finite numbers, got NaN",
    ),
]


@pytest.mark.parametrize(
    ("weights", "message"), WRONG_WEIGHTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_wrong_weights_are_refused_with_the_tensors_name(weights, message, tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    write_tensors(ours, weights)
    for path in (ours, save_as_facebook(tmp_path / "mae_visualize_x.pth", weights)):
        with pytest.raises(ValueError, match=message) as refusal:
            load_mae(path)
        assert str(refusal.value).startswith(path)


def test_many_wrong_tensors_are_named_in_part_and_counted(tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    write_tensors(ours, {name: tensor for name, tensor in MODEL.state_dict().items() if "blocks.1" not in name})
    with pytest.raises(ValueError, match=r"blocks\.1\.norm1\.weight is missing; .* \(and 21 more\)"):
        load_mae(ours)
