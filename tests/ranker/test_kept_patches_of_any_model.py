"""Vision transformers of other libraries on the patches that a ranker puts first."""

from __future__ import annotations

import copy
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ranker.kept_patches import KeptPatches
from ranker.network import Head, PatchRankingTransformer, RankerConfig
from ranker.patch_ranker import PatchRanker
from ranker.pretrained import RankerCheckpoint

SIZE, PATCH, GRID = 32, 8, 4
TIMM = {
    "ViT": ("vit_tiny_patch16_224", {}),
    "pooled, without CLS": ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}),
    "registers": ("vit_small_patch14_reg4_dinov2", {}),
    "attention pooling": ("vit_base_patch16_siglip_224", {}),
    "distilled": ("deit_tiny_distilled_patch16_224", {}),
    "rotary positions": ("eva02_tiny_patch14_224", {}),
}


def a_ranker(head: Head = "token", grid: int = GRID, patch: int = 4) -> PatchRanker:
    torch.manual_seed(1)
    config = RankerConfig(image_size=grid * patch, patch_size=patch, width=16, depth=1, heads=2, head=head)
    return PatchRanker(RankerCheckpoint(config, PatchRankingTransformer(config).state_dict(), {}))


def a_timm_model(kind: str) -> nn.Module:
    name, settings = TIMM[kind]
    torch.manual_seed(2)
    small = {"img_size": SIZE, "patch_size": PATCH, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    return timm.create_model(name, pretrained=False, **small, **settings).eval()


def a_transformers_model(kind: str) -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="transformers, a test dependency, is not installed")
    torch.manual_seed(2)
    small = {
        "image_size": SIZE,
        "patch_size": PATCH,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    made = {
        "ViT": lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**small, num_labels=5)),
        "DINOv2 with registers": lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**small)
        ),
        "CLIP": lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**small)),
    }
    return made[kind]().eval()


MODELS = [(a_timm_model, kind) for kind in TIMM]
MODELS += [(a_transformers_model, kind) for kind in ("ViT", "DINOv2 with registers", "CLIP")]
each_model = pytest.mark.parametrize(("make", "kind"), MODELS)


def output(result) -> torch.Tensor:
    if isinstance(result, torch.Tensor):
        return result
    return result.logits if hasattr(result, "logits") else result.pooler_output


@pytest.fixture
def images():
    return torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 4 - 2


@each_model
@torch.no_grad()
def test_with_all_patches_the_output_is_the_models_own(make, kind, images):
    vit = make(kind)
    expected = output(vit(images))
    assert torch.equal(output(KeptPatches(vit, a_ranker(), 1.0)(images)), expected)
    assert torch.equal(output(vit(images)), expected), "alone it works as before"


@each_model
@torch.no_grad()
def test_what_is_dropped_changes_nothing_and_what_is_kept_does(make, kind, images, monkeypatch):
    vit = make(kind)
    wrapped = KeptPatches(vit, a_ranker(), 0.25)
    kept = wrapped.keep(images)
    assert kept.shape == (3, 4)
    monkeypatch.setattr(wrapped, "keep", lambda _: kept)  # the same patches for changed pixels
    before = output(wrapped(images))
    hidden, shown = images.clone(), images.clone()
    for image in range(3):
        for patch in range(GRID**2):
            row, column = divmod(patch, GRID)
            into = shown if patch in kept[image] else hidden
            into[image, :, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] += 1
    assert torch.equal(output(wrapped(hidden)), before)
    assert (output(wrapped(shown)) != before).any(dim=-1).all()
    assert (output(vit(images)) != before).any(dim=-1).all(), "all is seen"


@each_model
@torch.no_grad()
def test_several_share_a_model_and_each_keeps_its_own_ratio(make, kind, images):
    alone = {ratio: output(KeptPatches(make(kind), a_ranker(), ratio)(images)) for ratio in (0.25, 0.5)}
    vit = make(kind)
    full = output(vit(images))
    wrapped = {ratio: KeptPatches(vit, a_ranker(), ratio) for ratio in alone}
    for ratio in (0.25, 0.5, 0.25):
        assert torch.equal(output(wrapped[ratio](images)), alone[ratio])
        assert torch.equal(output(vit(images)), full)
    assert not torch.equal(alone[0.25], alone[0.5])
    assert not torch.equal(alone[0.25], full)


def saved_and_loaded(module: nn.Module) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, AveragedModel, saved_and_loaded])
@each_model
@torch.no_grad()
def test_copies_see_the_kept_patches_alone_too(make, kind, copied: Any, images):
    wrapped = KeptPatches(make(kind), a_ranker(), 0.25).eval()
    expected, full = output(wrapped(images)), output(wrapped.vit(images))
    assert not torch.equal(expected, full)
    another: Any = copied(wrapped).eval()
    assert torch.equal(output(another(images)), expected)
    inner: Any = another.module if isinstance(another, AveragedModel) else another
    assert torch.equal(output(inner.vit(images)), full)
    for parameter in inner.vit.parameters():
        parameter.zero_()
    assert torch.equal(output(wrapped(images)), expected), "nothing is shared"


@torch.no_grad()
@pytest.mark.parametrize("kind", ["ViT", "rotary positions"])
def test_alone_it_still_drops_patches_at_random_where_it_did(kind, images):
    name, settings = TIMM[kind]
    vit = timm.create_model(
        name, img_size=SIZE, patch_size=PATCH, embed_dim=24, depth=2, num_heads=2, patch_drop_rate=0.5, **settings
    )
    wrapped = KeptPatches(vit, a_ranker(), 0.25)
    vit.train()
    assert not torch.equal(vit(images), vit(images))
    assert torch.equal(wrapped(images), wrapped(images))


@torch.no_grad()
@each_model
def test_pixels_are_normalised_as_its_model_wants_them(make, kind):
    pixels = torch.randint(256, (3, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    ranker = a_ranker()
    wrapped = KeptPatches(make(kind), ranker, 0.25, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)).eval()
    kept = wrapped.keep(pixels)
    assert torch.equal(kept, ranker.keep(pixels, 0.25, PATCH))
    normalised = (pixels / 255 - wrapped.mean) / wrapped.std
    assert torch.equal(kept, wrapped.keep(normalised))
    assert torch.equal(output(wrapped(pixels)), output(wrapped(normalised)))
    wrapped.vit.to(torch.bfloat16)
    assert output(wrapped(pixels)).dtype == torch.bfloat16


@each_model
@torch.no_grad()
def test_no_images_keep_no_patches_and_give_no_outputs(make, kind):
    wrapped = KeptPatches(make(kind), a_ranker(), 0.25).eval()
    for dtype in (torch.uint8, torch.float32):
        none = torch.zeros(0, 3, SIZE, SIZE, dtype=dtype)
        kept = wrapped.keep(none)
        assert (kept.shape, kept.dtype) == ((0, 4), torch.int64)
        if make is a_timm_model and kind != "rotary positions":  # the others take no empty batch by themselves
            assert wrapped(none).shape == (0, 5)


@pytest.mark.parametrize(("make", "kind"), [(a_timm_model, "ViT"), (a_timm_model, "rotary positions"), MODELS[-3]])
@torch.no_grad()
def test_it_can_be_compiled_as_one_program(make, kind, images):
    wrapped = KeptPatches(make(kind), a_ranker(), 0.25).eval()
    compiled = torch.compile(wrapped, backend="eager", fullgraph=True)
    torch.testing.assert_close(output(compiled(images)), output(wrapped(images)))


def test_the_ranker_sees_the_images_at_its_own_resolution_whatever_they_were_normalised_with(images):
    pixels = images.sigmoid()
    ranker = a_ranker(patch=8)
    expected = ranker.keep((pixels - ranker.mean) / ranker.std, 0.5)
    for mean, std in (((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))):
        normalised = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        wrapped = KeptPatches(a_timm_model("ViT"), ranker, 0.5, mean=mean, std=std)
        assert torch.equal(wrapped.keep(normalised), expected)
    large = nn.functional.interpolate(images, scale_factor=4, mode="nearest")
    coarse = a_ranker(patch=2)
    assert KeptPatches(a_timm_model("ViT"), coarse, 0.5).keep(large).shape == (3, 128), "16 x 16 patches of 8"


def test_it_sees_patches_of_all_parts_if_asked(images):
    ranker = a_ranker()
    pixels = images.sigmoid()
    usual = {"mean": ranker.mean.flatten().tolist(), "std": ranker.std.flatten().tolist()}
    normalised = (pixels - ranker.mean) / ranker.std
    for spread in (False, True):
        wrapped = KeptPatches(a_timm_model("ViT"), ranker, 0.25, spread=spread, **usual)
        patch = wrapped._patch_size
        assert torch.equal(wrapped.keep(normalised), ranker.keep(normalised, 0.25, patch, spread=spread))


def test_timms_own_normalisation_is_taken_back(images):
    vit = a_timm_model("attention pooling")
    assert vit.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)  # type: ignore[index]  # of timm's models
    assert KeptPatches(vit, a_ranker(), 0.5).mean.flatten().tolist() == [0.5, 0.5, 0.5]


def test_gradients_reach_the_transformer_and_not_the_ranker(images):
    wrapped = KeptPatches(a_timm_model("ViT"), a_ranker(), 0.25).train()
    wrapped(images).sum().backward()
    assert all(each.grad is not None for each in wrapped.vit.parameters() if each.requires_grad)
    assert all(each.grad is None for each in wrapped.ranker.parameters())


def test_a_fault_inside_leaves_the_model_as_it_was(images):
    vit = a_timm_model("ViT")
    wrapped = KeptPatches(vit, a_ranker(), 0.25)
    expected = vit(images)
    with pytest.raises(TypeError):
        wrapped(images, nonsense=1)
    assert torch.equal(vit(images), expected)


def test_a_ranker_of_another_grid_is_refused(images):
    wrapped = KeptPatches(a_timm_model("ViT"), a_ranker(head="cls", grid=3), 0.5)
    with pytest.raises(ValueError, match="patches of 8 x 8 are 4 x 4 patches: expected the 3 x 3 of the ranker"):
        wrapped(images)


def test_what_is_no_vision_transformer_is_refused():
    with pytest.raises(TypeError, match=r"vit: expected timm's VisionTransformer or Eva, .* got Conv2d"):
        KeptPatches(nn.Conv2d(3, 3, 3), a_ranker(), 0.5)


def test_embeddings_that_are_no_tensor_are_refused(images):
    class Embeddings(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embeddings = nn.Conv2d(3, 4, 8, 8)

        def forward(self, pixels):
            return self.patch_embeddings(pixels), None

    vit = nn.Sequential()
    vit.add_module("embeddings", Embeddings())
    with pytest.raises(TypeError, match="vit: expected embeddings that are one tensor, got tuple"):
        KeptPatches(vit, a_ranker(), 0.5)(images)


def test_threads_that_share_one_see_their_own_patches(images):
    fast = KeptPatches(a_timm_model("ViT"), a_ranker(), 0.25)
    batches = [images + number / 4 for number in range(12)]
    with torch.no_grad():
        expected = [fast(each) for each in batches]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                for found, wanted in zip(pool.map(torch.no_grad()(fast), batches), expected, strict=True):
                    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("make", "kind"), [(a_timm_model, "ViT"), (a_transformers_model, "ViT")])
def test_a_copy_in_the_models_place_sees_kept_patches_and_another_model_is_refused(make, kind, images):
    fast = KeptPatches(make(kind), a_ranker(), 0.25)
    expected = output(fast(images))
    fast.vit = copy.deepcopy(fast.vit)
    torch.testing.assert_close(output(fast(images)), expected)
    fast.vit = make(kind)
    with pytest.raises(TypeError, match=r"vit: expected what this was made with, .* got a model that saw all patches"):
        fast(images)


def test_images_of_one_channel_are_refused():
    fast = KeptPatches(a_timm_model("ViT"), a_ranker(), 0.25)
    for images in (torch.rand(2, 1, SIZE, SIZE), torch.rand(3, SIZE, SIZE)):
        with pytest.raises(ValueError, match=r"expected .*\(B, 3, H, W\)"):
            fast(images)


def test_a_model_of_patches_of_features_is_refused():
    hybrid = timm.create_model("vit_tiny_r_s16_p8_224", img_size=64)
    with pytest.raises(TypeError, match=r"expected patches of the image itself, got .*\(HybridEmbed\)"):
        KeptPatches(hybrid, a_ranker(), 0.5)
