"""Checkpoints of the three families, made here at small size and read back."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from stages.density.mae import PRESETS, MaeConfig, MaskedAutoencoder
from stages.density.mae_checkpoints import MaeCheckpoint, load_mae, save_mae

CONFIG = MaeConfig(
    image_size=32,
    patch_size=8,
    width=32,
    depth=2,
    heads=4,
    decoder_width=24,
    decoder_depth=3,
    decoder_heads=2,
    pixel_target="raw",
)


def random_mae(config: MaeConfig = CONFIG) -> MaskedAutoencoder:
    """Every parameter is moved, biases and norms too, so that none of them is without effect."""
    torch.manual_seed(0)
    model = MaskedAutoencoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


MODEL = random_mae()
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
VISIBLE = torch.tensor([[0, 3, 4, 9], [1, 2, 7, 15]])


@torch.inference_mode()
def reconstruction(model: MaskedAutoencoder) -> Tensor:
    return model.eval().reconstruct(IMAGES, VISIBLE)[0]


def save_as_facebook(path: Path, weights: dict[str, Tensor] | None = None, **more: object) -> str:
    """A .pth as facebookresearch/mae saves it; without published numbers of heads, FILE.json gives them."""
    torch.save({"model": MODEL.state_dict() if weights is None else weights, **more}, path)
    path.with_name(f"{path.name}.json").write_text('{"heads": 4, "decoder_heads": 2}')
    return str(path)


def save_as_hugging_face(
    folder: Path, file: str = "model.safetensors", config: MaeConfig = CONFIG, **changes: object
) -> str:
    """A folder as on the Hugging Face hub, with the names that the files there have."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = published_names(MODEL.state_dict())
    if file.endswith(".bin"):
        torch.save(weights, folder / file)
    else:
        safetensors.torch.save_file(weights, folder / file, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**hugging_face_config(config), **changes}))
    return str(folder)


def hugging_face_config(config: MaeConfig) -> dict[str, Any]:
    return {
        "architectures": ["ViTMAEForPreTraining"],
        "attention_probs_dropout_prob": 0.0,
        "decoder_hidden_size": config.decoder_width,
        "decoder_intermediate_size": 4 * config.decoder_width,
        "decoder_num_attention_heads": config.decoder_heads,
        "decoder_num_hidden_layers": config.decoder_depth,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": config.width,
        "image_size": config.image_size,
        "initializer_range": 0.02,
        "intermediate_size": 4 * config.width,
        "layer_norm_eps": config.norm_eps,
        "mask_ratio": 0.75,
        "model_type": "vit_mae",
        "norm_pix_loss": config.pixel_target == "normalized",
        "num_attention_heads": config.heads,
        "num_channels": 3,
        "num_hidden_layers": config.depth,
        "patch_size": config.patch_size,
        "qkv_bias": True,
        "torch_dtype": "float32",
    }


PUBLISHED = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
    "mask_token": "decoder.mask_token",
    "decoder_pos_embed": "decoder.decoder_pos_embed",
    "decoder_embed": "decoder.decoder_embed",
    "decoder_norm": "decoder.decoder_norm",
    "decoder_pred": "decoder.decoder_pred",
}
PUBLISHED_BLOCKS = {"blocks": "vit.encoder.layer", "decoder_blocks": "decoder.decoder_layers"}
PUBLISHED_IN_BLOCK = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def published_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names in facebook/vit-mae-base on the Hugging Face hub, where q, k and v are apart."""
    renamed = {}
    for name, tensor in weights.items():
        module, _, kind = name.rpartition(".")
        if name in PUBLISHED:
            renamed[PUBLISHED[name]] = tensor
        elif module in PUBLISHED:
            renamed[f"{PUBLISHED[module]}.{kind}"] = tensor
        else:
            blocks, number, inside = module.split(".", 2)
            block = f"{PUBLISHED_BLOCKS[blocks]}.{number}"
            if inside == "attn.qkv":
                for part, values in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    renamed[f"{block}.attention.attention.{part}.{kind}"] = values.contiguous()
            else:
                renamed[f"{block}.{PUBLISHED_IN_BLOCK[inside]}.{kind}"] = tensor
    return renamed


def save_as_ours(folder: Path) -> str:
    save_mae(MODEL, str(folder), {"steps": 7})
    return str(folder)


FAMILIES = {
    "ours": lambda folder: save_as_ours(folder / "ours"),
    "facebook": lambda folder: save_as_facebook(folder / "mae_visualize_vit_small.pth"),
    "facebook, weights alone": lambda folder: bare_facebook(folder / "small.pth"),
    "hugging face": lambda folder: save_as_hugging_face(folder / "hub"),
    "hugging face, pickled": lambda folder: save_as_hugging_face(folder / "hub", "pytorch_model.bin"),
}


def bare_facebook(path: Path) -> str:
    save_as_facebook(path)
    torch.save(MODEL.state_dict(), path)
    return str(path)


def read_tensors(folder: str) -> dict[str, Tensor]:
    return safetensors.torch.load_file(Path(folder, "mae.safetensors"))


def write_tensors(folder: str, weights: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(weights, Path(folder, "mae.safetensors"))


@pytest.fixture(params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same model, saved in each of the families."""
    return FAMILIES[request.param](tmp_path)


def test_every_family_gives_the_model_that_was_saved(saved):
    checkpoint = load_mae(saved)
    assert checkpoint.build().state_dict().keys() == MODEL.state_dict().keys()
    assert torch.equal(reconstruction(checkpoint.build()), reconstruction(MODEL))


def test_one_model_has_one_checksum_in_every_family_and_another_has_another(saved, tmp_path):
    ours = load_mae(save_as_ours(tmp_path / "reference"))
    assert load_mae(saved).sha256 == ours.sha256
    other = {**ours.weights, "decoder_pred.bias": ours.weights["decoder_pred.bias"].clone()}
    other["decoder_pred.bias"][0] += 1e-6
    assert MaeCheckpoint(ours.config, other, ours.family).sha256 != ours.sha256


def test_our_family_keeps_the_architecture_and_how_it_was_trained(tmp_path):
    config = MaeConfig(
        image_size=24,
        patch_size=6,
        width=16,
        heads=2,
        depth=1,
        decoder_width=8,
        decoder_heads=1,
        norm_eps=1e-3,
    )
    model = random_mae(config)
    save_mae(model, str(tmp_path / "mae"), {"steps": 7, "seed": 3})
    checkpoint = load_mae(str(tmp_path / "mae"))
    assert checkpoint.config == config
    assert checkpoint.family == "ltrp-pipeline"
    assert all(torch.equal(tensor, checkpoint.weights[name]) for name, tensor in model.state_dict().items())
    description = json.loads((tmp_path / "mae" / "mae.json").read_text())
    assert (description["steps"], description["seed"]) == (7, 3)


def test_a_model_that_is_half_written_is_not_there(tmp_path):
    os.remove(Path(save_as_ours(tmp_path / "mae")) / "mae.json")
    with pytest.raises(ValueError, match=r"expected an MAE: a folder with mae\.json or config\.json, or a \.pth file"):
        load_mae(str(tmp_path / "mae"))


@pytest.mark.parametrize(
    ("name", "args", "pixel_target"),
    [
        ("mae_visualize_vit_small.pth", None, "raw"),
        ("mae_pretrain_vit_small_full.pth", None, "normalized"),
        (
            "checkpoint-799.pth",
            argparse.Namespace(norm_pix_loss=True, lr=1e-4, output_dir="out"),
            "normalized",
        ),
        ("checkpoint-799.pth", argparse.Namespace(norm_pix_loss=False), "raw"),
    ],
)
def test_the_pixel_target_of_a_facebook_file_comes_from_its_options_or_its_name(tmp_path, name, args, pixel_target):
    more = {} if args is None else {"args": args, "epoch": 799, "optimizer": {"state": {0: torch.zeros(3)}}}
    checkpoint = load_mae(save_as_facebook(tmp_path / name, **more))
    assert checkpoint.config.pixel_target == pixel_target
    assert checkpoint.family == "facebookresearch"


def test_the_architecture_of_a_facebook_file_comes_from_its_shapes_and_the_json_beside_it(tmp_path):
    path = tmp_path / "small.pth"
    save_as_facebook(path)
    path.with_name("small.pth.json").write_text(
        '{"heads": 8, "decoder_heads": 3, "norm_eps": 0.01, "pixel_target": "normalized"}'
    )
    expected = {
        **vars(CONFIG),
        "heads": 8,
        "decoder_heads": 3,
        "norm_eps": 0.01,
        "pixel_target": "normalized",
    }
    assert load_mae(str(path)).config == MaeConfig(**expected)


def test_a_facebook_file_with_published_widths_needs_no_numbers_of_heads(tmp_path):
    config = MaeConfig(image_size=32, depth=1, decoder_depth=1, pixel_target="raw")
    torch.save({"model": MaskedAutoencoder(config).state_dict()}, tmp_path / "mae_visualize_vit_base.pth")
    assert load_mae(str(tmp_path / "mae_visualize_vit_base.pth")).config == config


@pytest.mark.parametrize(
    ("preset", "parameters"), [("base", 111_907_840), ("large", 329_541_888), ("huge", 657_074_508)]
)
def test_presets_are_as_large_as_the_published_models(preset, parameters):
    with torch.device("meta"):
        model = MaskedAutoencoder(PRESETS[preset])
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


# Hugging Face's own implementation


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers, a test dependency, is not installed")


@torch.inference_mode()
def hugging_face_reconstruction(theirs) -> Tensor:
    """Their forward with noise that is lowest at `VISIBLE`."""
    noise = torch.ones(2, 16).scatter(1, VISIBLE, 0.0) + torch.linspace(0, 0.1, 16)
    pixels = theirs.eval()(IMAGES, noise=noise)
    assert pixels.mask.sum(1).tolist() == [12, 12]
    return pixels.logits[pixels.mask.bool()].view(2, 12, -1)


@pytest.mark.parametrize("norm_eps", [1e-12, 1e-2])
def test_a_hugging_face_folder_reconstructs_as_transformers_does(transformers, tmp_path, norm_eps):
    config = MaeConfig(**{**vars(CONFIG), "norm_eps": norm_eps})
    published = save_as_hugging_face(tmp_path / "published", config=config)
    theirs, loading = transformers.ViTMAEForPreTraining.from_pretrained(published, output_loading_info=True)
    assert not loading["missing_keys"], "the names here are not the published ones"
    assert not loading["unexpected_keys"], "the names here are not the published ones"
    theirs.save_pretrained(tmp_path / "saved")
    safetensors.torch.save_file(
        {name: tensor.contiguous() for name, tensor in theirs.state_dict().items()},
        write_config(tmp_path / "in memory", config) / "model.safetensors",
    )
    expected = hugging_face_reconstruction(theirs)
    for folder in ("published", "saved", "in memory"):
        checkpoint = load_mae(str(tmp_path / folder))
        assert checkpoint.config == config
        assert checkpoint.family == "huggingface"
        torch.testing.assert_close(reconstruction(checkpoint.build()), expected, rtol=1e-4, atol=1e-5)


def write_config(folder: Path, config: MaeConfig) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(hugging_face_config(config)))
    return folder


def test_norm_eps_makes_a_difference_that_the_test_above_would_see():
    other = MaskedAutoencoder(MaeConfig(**{**vars(CONFIG), "norm_eps": 1e-2}))
    other.load_state_dict(MODEL.state_dict())
    assert (reconstruction(other) - reconstruction(MODEL)).abs().max() > 1e-3


def test_a_model_of_the_hub_is_downloaded_without_anything_but_config_and_weights(tmp_path, monkeypatch):
    folder = save_as_hugging_face(tmp_path / "hub")
    asked: list[tuple] = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, allow_patterns: asked.append((name, sorted(allow_patterns))) or folder,
    )
    assert torch.equal(reconstruction(load_mae("hf://facebook/vit-mae-small").build()), reconstruction(MODEL))
    assert asked == [("facebook/vit-mae-small", ["config.json", "model.safetensors", "pytorch_model.bin"])]


def test_a_hub_that_does_not_answer_is_one_clear_message(monkeypatch):
    def unreachable(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ValueError, match="hf://facebook/x: the Hugging Face hub did not give it: no route to host"):
        load_mae("hf://facebook/x")


# What is refused


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
    with pytest.raises(ValueError, match=r"config\.json: expected model_type 'vit_mae', came None; an encoder without"):
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
    with pytest.raises(ValueError, match=r"not a (whole safetensors file|checkpoint of tensors)") as refusal:
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
        ([torch.zeros(3)], "expected a dictionary of tensors, came list"),
        (
            {"epoch": 3, "state": "x"},
            r"expected tensors by name, under the key 'model' or not, came \['epoch', 'state'\]",
        ),
        ({"model": "vit"}, "expected tensors by name"),
    ],
)
def test_a_pickle_of_something_else_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "mae_visualize_x.pth")
    with pytest.raises(ValueError, match=message):
        load_mae(str(tmp_path / "mae_visualize_x.pth"))


def changed(name: str, value: Tensor | None) -> dict[str, Tensor]:
    """The weights with one tensor added, in the place of another, or taken away."""
    weights = {**MODEL.state_dict(), name: value}
    return {name: tensor for name, tensor in weights.items() if tensor is not None}


WRONG_WEIGHTS = [
    (changed("blocks.1.attn.qkv.bias", None), r"blocks\.1\.attn\.qkv\.bias is missing"),
    (changed("mask_token", None), "mask_token is missing"),
    (changed("head.weight", torch.zeros(3)), r"head\.weight is not an MAE's"),
    (changed("norm.weight", torch.zeros(7)), r"norm\.weight: expected shape \(32,\), came \(7,\)"),
    (changed("norm.weight", torch.full((32,), torch.nan)), r"norm\.weight holds NaN or infinity"),
    (changed("cls_token", torch.full((1, 1, 32), torch.inf)), "cls_token holds NaN or infinity"),
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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("patch_embed.proj.weight", None, r"not the weights of an MAE: patch_embed\.proj\.weight is missing"),
        ("pos_embed", None, "not the weights of an MAE: pos_embed is missing"),
        ("pos_embed", torch.zeros(3), r"pos_embed: expected 3 dimensions, came \(3,\)"),
        (
            "patch_embed.proj.weight",
            torch.zeros(32, 192),
            r"proj\.weight: expected 4 dimensions, came \(32, 192\)",
        ),
    ],
)
def test_a_facebook_file_without_the_tensors_that_tell_its_shape_is_refused(name, value, message, tmp_path):
    path = save_as_facebook(tmp_path / "mae_visualize_x.pth", changed(name, value))
    with pytest.raises(ValueError, match=message):
        load_mae(path)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (
            None,
            r'number of heads; put it into .*x\.pth\.json, for example \{"heads": 12, "decoder_heads": 16',
        ),
        ('{"heads": 4}', r"number of decoder_heads; put it into .*x\.pth\.json"),
        ('{"heads": 5, "decoder_heads": 2}', r"x\.pth\.json: .*MAE width: expected a multiple of 5 heads"),
        (
            '{"heads": 0, "decoder_heads": 2}',
            r"x\.pth\.json: .*MAE heads: expected a whole number above 0, came 0",
        ),
        ('{"heads": "4", "decoder_heads": 2}', r"x\.pth\.json: .*MAE heads: .* came '4'"),
        ('{"heads": 4, "decoder_heads": 2, "head": 3}', r"x\.pth\.json: .*'head'"),
        (
            '{"heads": 4, "decoder_heads": 2, "pixel_target": "RGB"}',
            r"MAE pixel_target: expected .* came 'RGB'",
        ),
        ('{"heads": 4,', r"x\.pth\.json: expected JSON"),
        ("[4, 2]", r"x\.pth\.json: expected a JSON object, came list"),
    ],
)
def test_numbers_of_heads_that_are_unknown_or_wrong_are_refused_and_the_message_says_how(beside, message, tmp_path):
    path = save_as_facebook(tmp_path / "x.pth")
    if beside is None:
        os.remove(f"{path}.json")
    else:
        Path(f"{path}.json").write_text(beside)
    with pytest.raises(ValueError, match=message):
        load_mae(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "vit"}, "expected model_type 'vit_mae', came 'vit'"),
        ({"intermediate_size": 64}, "expected intermediate_size 128, came 64"),
        ({"decoder_intermediate_size": 64}, "expected decoder_intermediate_size 96, came 64"),
        ({"hidden_act": "relu"}, "expected hidden_act 'gelu', came 'relu'"),
        ({"num_hidden_layers": 3}, r"blocks\.2\.norm1\.weight is missing"),
        ({"num_attention_heads": 5}, r"config\.json: .*MAE width: expected a multiple of 5 heads"),
    ],
)
def test_a_hugging_face_config_that_is_no_maes_is_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_mae(save_as_hugging_face(tmp_path / "hub", **changes))


@pytest.mark.parametrize("config", ['{"model_type": "vit_mae"}', '{"model_type": "vit_mae", "hidden_size": "a"}'])
def test_a_hugging_face_config_that_lacks_something_is_refused_with_what_it_lacks(config, tmp_path):
    save_as_hugging_face(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=r"config\.json: '(decoder_)?hidden_size' is missing"):
        load_mae(str(tmp_path))


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("{", "expected JSON"),
        ("{}", "'config' is missing"),
        ('{"config": {"widht": 32}}', "not the architecture of an MAE: .*'widht'"),
        ('{"config": {"norm_eps": 0.0}}', "MAE norm_eps: expected a number above 0"),
        ('{"config": {"image_size": 32.5}}', "MAE image_size: expected a whole number above 0, came 32.5"),
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
    with pytest.raises((ValueError, FileNotFoundError), match=r"folder: .* a folder with mae\.json or config\.json"):
        load_mae(str(tmp_path / "folder"))


@pytest.mark.parametrize("name", ["nothing", "nothing.pth"])
def test_a_path_that_is_not_there_is_told_by_name(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        load_mae(str(tmp_path / name))


@pytest.mark.parametrize("family", ["ours", "facebook", "hugging face"])
def test_a_path_may_be_relative(family, tmp_path, monkeypatch):
    path = FAMILIES[family](tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_mae(os.path.relpath(path)).config == CONFIG


def test_weights_that_are_missing_beside_their_description_are_told_by_name(tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    os.remove(tmp_path / "mae" / "mae.safetensors")
    with pytest.raises(FileNotFoundError, match=r"mae\.safetensors"):
        load_mae(ours)
