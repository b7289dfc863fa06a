"""The Python in docs/patch_ranker.md, run from top to bottom."""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import pytest
import torch
from PIL import Image
from repository import ROOT

from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pretrained import encode_ranker

PAGE = ROOT / "docs" / "patch_ranker.md"
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's code has defined at its end; without its parts on ONNX where that is not installed."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "work" / "ranker").mkdir(parents=True)
    torch.manual_seed(0)
    model = PatchRankingTransformer(RankerConfig(image_size=32, patch_size=8, width=16, depth=1, heads=2))
    for name, data in encode_ranker(model, {}).items():
        (folder / "work" / "ranker" / name).write_bytes(data)
    Image.effect_noise((60, 45), 80).save(folder / "photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    defined: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, block in enumerate(blocks, start=1):
            if HAS_ONNX or "onnx" not in block:
                exec(compile(block, f"{PAGE.name}, block {number}", "exec"), defined)
    return defined


def test_scores_and_kept_patches_have_the_shapes_that_the_page_says(names):
    assert names["images"].shape == (1, 3, 32, 32)
    assert names["images"].dtype == torch.uint8
    assert names["score_map"].shape == (1, 4, 4)
    assert names["kept"].shape == (1, 4)


def test_the_transformer_sees_the_patches_to_keep_at_its_own_resolution(names):
    fast = names["fast"]
    images = (names["larger"] - fast.mean) / fast.std
    assert images.shape == (1, 3, 64, 64)
    assert fast.keep(images).shape == names["kept"].shape
    assert names["logits"].shape == (1, 10)
    assert not torch.allclose(names["vit"](images), names["logits"]), "the model alone sees all"


def test_gradients_reach_the_transformer_through_the_kept_patches(names):
    assert torch.autograd.grad(names["logits"].sum(), names["vit"].patch_embed.proj.weight)[0].any()


def test_the_exported_program_gives_the_same_scores(names):
    torch.testing.assert_close(names["scores_of_program"], names["scores"], rtol=1e-4, atol=1e-5)


def test_the_onnx_model_gives_the_same_scores(names):
    if not HAS_ONNX:
        pytest.skip("onnx, onnxscript and onnxruntime are not all installed")
    torch.testing.assert_close(torch.from_numpy(names["scores_of_onnx"]), names["scores"], rtol=1e-4, atol=1e-5)
