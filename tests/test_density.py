"""Scores against the published code's numbers, and against the method written out plainly."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ranker.metrics import kendall_tau
from stages.density.cost import density_flops
from stages.density.distances import DISTANCES
from stages.density.mae import PRESETS, MaeConfig, MaskedAutoencoder, patchify, unpatchify
from stages.density.masks import draw_masks
from stages.density.precision import fastest_trusted
from stages.density.removal import REMOVALS
from stages.density.scorer import DensityScorer, default_micro_batch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Several are slower for tensors as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "ltrp_reference.npz"

SMALL = MaeConfig(
    image_size=32,
    patch_size=8,
    width=32,
    depth=2,
    heads=4,
    decoder_width=24,
    decoder_depth=3,
    decoder_heads=2,
)
SHAPES = {
    "small": (SMALL, 5),
    "one block each, wide heads, large eps": (
        MaeConfig(
            image_size=24,
            patch_size=4,
            width=16,
            depth=1,
            heads=1,
            decoder_width=32,
            decoder_depth=1,
            decoder_heads=1,
            norm_eps=1e-2,
        ),
        4,
    ),
    "two visible of nine": (
        MaeConfig(
            image_size=24,
            patch_size=8,
            width=24,
            depth=3,
            heads=3,
            decoder_width=40,
            decoder_depth=2,
            decoder_heads=5,
        ),
        2,
    ),
    "few masked": (
        MaeConfig(
            image_size=16,
            patch_size=4,
            width=16,
            depth=2,
            heads=2,
            decoder_width=16,
            decoder_depth=2,
            decoder_heads=4,
        ),
        12,
    ),
}


def random_mae(config: MaeConfig, seed: int = 0) -> MaskedAutoencoder:
    """Every parameter is moved, biases and norms too, so that none of them is without effect."""
    torch.manual_seed(seed)
    model = MaskedAutoencoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def random_images(config: MaeConfig, count: int, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, config.image_size, config.image_size), dtype=torch.uint8, generator=draws)


def random_visible(config: MaeConfig, count: int, visible: int, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    chosen = [torch.randperm(config.n_patches, generator=draws)[:visible].sort().values for _ in range(count)]
    return torch.stack(chosen)


class PlainMae:
    """The MAE in float64, written out from its weights: no batch, no shared work, an explicit softmax."""

    def __init__(self, model: MaskedAutoencoder) -> None:
        self.config = model.config
        self.weights = {name: tensor.double() for name, tensor in model.state_dict().items()}

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + self.config.norm_eps).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def block(self, x: Tensor, name: str, heads: int, mask: Tensor) -> Tensor:
        width = x.shape[1]
        size = width // heads
        q, k, v = self.linear(self.norm(x, f"{name}.norm1"), f"{name}.attn.qkv").split(width, dim=1)
        attended = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            logits = q[:, part] @ k[:, part].T / math.sqrt(size) + mask
            attended.append(logits.softmax(dim=1) @ v[:, part])
        x = x + self.linear(torch.cat(attended, dim=1), f"{name}.attn.proj")
        hidden = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        return x + self.linear(hidden, f"{name}.mlp.fc2")

    def reconstruct(self, image: Tensor, visible: list[int], without: int | None = None) -> Tensor:
        """uint8 (3, S, S) → (L, P). The decoder's token of `without` neither attends nor is attended to."""
        config = self.config
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()[..., None, None]
        pixels = (image.double() / 255 - mean) / std
        grid, p = config.grid, config.patch_size
        patches = [pixels[:, r * p : r * p + p, c * p : c * p + p].flatten() for r in range(grid) for c in range(grid)]
        embedding = self.weights["patch_embed.proj.weight"].flatten(1)
        positions = self.weights["pos_embed"][0]
        tokens = [self.weights["cls_token"][0, 0] + positions[0]]
        for patch in visible:
            tokens.append(embedding @ patches[patch] + self.weights["patch_embed.proj.bias"] + positions[1 + patch])
        x = torch.stack(tokens)
        for number in range(config.depth):
            x = self.block(x, f"blocks.{number}", config.heads, torch.zeros(1).double())
        latent = self.linear(self.norm(x, "norm"), "decoder_embed")
        x = self.weights["mask_token"][0].repeat(1 + config.n_patches, 1)
        x[[0] + [1 + patch for patch in visible]] = latent
        x = x + self.weights["decoder_pos_embed"][0]
        mask = torch.zeros(len(x), len(x)).double()
        if without is not None:
            mask[1 + without, :] = mask[:, 1 + without] = -math.inf
            mask[1 + without, 1 + without] = 0  # it sees itself alone: softmax of nothing is not a number
        for number in range(config.decoder_depth):
            x = self.block(x, f"decoder_blocks.{number}", config.decoder_heads, mask)
        return self.linear(self.norm(x, "decoder_norm"), "decoder_pred")[1:]


def plain_reconstructions(
    mae: PlainMae, image: Tensor, visible: list[int], removal: str
) -> tuple[Tensor, list[Tensor]]:
    """At the patches masked from the start: the anchor (N, P), and (N, P) without each visible patch."""
    masked = [patch for patch in range(mae.config.n_patches) if patch not in visible]
    removed = []
    for patch in visible:
        if removal == "decoder":
            reconstruction = mae.reconstruct(image, visible, without=patch)
        else:
            reconstruction = mae.reconstruct(image, [other for other in visible if other != patch])
        removed.append(reconstruction[masked])
    return mae.reconstruct(image, visible)[masked], removed


def plain_distance(name: str, a: np.ndarray, b: np.ndarray) -> float:
    """Between reconstructions (N, P), the anchor first."""
    value_range = a.max() - a.min()
    if name == "l1":
        return np.abs(a - b).mean()
    if name == "l2":
        return ((a - b) ** 2).mean()
    if name == "psnr":
        return -20 * math.log10(value_range / math.sqrt(((a - b) ** 2).mean()))
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    similarities = []
    for one, two in zip(a, b, strict=True):
        for channel in range(3):
            x, y = one[channel::3], two[channel::3]
            luminance = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
            covariance = ((x - x.mean()) * (y - y.mean())).mean()
            similarities.append(luminance * (2 * covariance + c2) / (x.var() + y.var() + c2))
    return 1 - float(np.mean(similarities))


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"the published code's numbers are not there: {GOLDEN}")
def test_anchor_and_scores_are_those_of_the_published_code():
    golden = np.load(GOLDEN)
    names = (
        "image_size",
        "patch_size",
        "width",
        "depth",
        "heads",
        "decoder_width",
        "decoder_depth",
        "decoder_heads",
    )
    config = MaeConfig(**dict(zip(names, golden["config"].tolist(), strict=True)))
    mae = MaskedAutoencoder(config).eval()
    mae.load_state_dict({n[4:]: torch.from_numpy(golden[n]) for n in golden.files if n.startswith("mae.")})
    images, visible = torch.from_numpy(golden["images"]), torch.from_numpy(golden["visible"]).long()
    with torch.inference_mode():
        pixels, masked = mae.reconstruct(images, visible)
        anchor, removed = REMOVALS["decoder"](mae, images, visible)
        anchor_pixels, removed0 = mae.decoder_pred(anchor), mae.decoder_pred(removed[:, 0])
        difference = mae.decoder_pred(anchor)[:, None] - mae.decoder_pred(removed)
        scores = DISTANCES["l1"](anchor_pixels, difference)
    at_masked = masked[..., None].expand(-1, -1, config.patch_values)
    expected_anchor = torch.from_numpy(golden["anchor"]).gather(1, at_masked)
    torch.testing.assert_close(pixels, expected_anchor, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(anchor_pixels, expected_anchor, rtol=1e-5, atol=1e-5)
    expected_removed = torch.from_numpy(golden["removed0"]).gather(1, at_masked)
    torch.testing.assert_close(removed0, expected_removed, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores, torch.from_numpy(golden["scores_l1"]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize(("config", "n_visible"), SHAPES.values(), ids=SHAPES)
def test_scores_are_those_of_the_method_written_out_plainly(config, n_visible, removal):
    model = random_mae(config)
    images, visible = random_images(config, 3), random_visible(config, 3, n_visible)
    plain = PlainMae(model)
    expected: dict[str, list[list[float]]] = {name: [] for name in DISTANCES}
    for image, shown in zip(images, visible.tolist(), strict=True):
        anchor, removed = plain_reconstructions(plain, image, shown, removal)
        for name, scores in expected.items():
            scores.append([plain_distance(name, anchor.numpy(), without.numpy()) for without in removed])
    for name, scores in expected.items():
        ours = DensityScorer(model, removal=removal, distance=name)(images, visible)
        assert ours.dtype == torch.float32
        rtol = 5e-5 if name == "ssim" else 1e-5  # the variance of a few pixels passes on more of their rounding
        assert ours.numpy() == pytest.approx(np.array(scores), rel=rtol, abs=0), name


def test_the_two_removals_give_different_scores():
    model, images, visible = random_mae(SMALL), random_images(SMALL, 1), random_visible(SMALL, 1, 5)
    decoder, encoder = (DensityScorer(model, removal=removal)(images, visible) for removal in ("decoder", "encoder"))
    assert (decoder / encoder - 1).abs().max() > 0.01


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("removal", REMOVALS)
def test_a_score_does_not_depend_on_batch_mates_or_micro_batch(removal, distance):
    model, images, visible = random_mae(SMALL), random_images(SMALL, 5), random_visible(SMALL, 5, 5)

    def scores(images: Tensor, visible: Tensor, micro_batch: int) -> Tensor:
        return DensityScorer(model, removal=removal, distance=distance, micro_batch=micro_batch)(images, visible)

    together = scores(images, visible, 5)
    for micro_batch in (1, 2, 3, 100):
        torch.testing.assert_close(scores(images, visible, micro_batch), together, rtol=1e-5, atol=0)
    reversed_ = scores(images.flip(0), visible.flip(0), 2).flip(0)
    torch.testing.assert_close(reversed_, together, rtol=1e-5, atol=0)
    mates = torch.cat([images[:1], torch.zeros_like(images[1:3]), torch.full_like(images[3:], 255)])
    torch.testing.assert_close(scores(mates, visible, 5)[:1], together[:1], rtol=1e-5, atol=0)


def test_no_images_give_no_scores():
    scores = DensityScorer(random_mae(SMALL))(random_images(SMALL, 1)[:0], random_visible(SMALL, 1, 5)[:0])
    assert scores.shape == (0, 5)


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_reconstructions_are_at_the_least_distance_and_it_grows_with_the_difference(name):
    anchor = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(2, 1, 7, 48, generator=torch.Generator().manual_seed(1))
    steps = torch.cat([size * direction for size in (0, 1e-6, 1e-3, 0.1, 1)], dim=1)
    distances = DISTANCES[name](anchor, steps)
    assert distances.shape == (2, 5)
    assert distances.isfinite().all()
    assert (distances.diff(dim=1) > 0).all()


def raise_gpu_out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def raise_cpu_out_of_memory() -> None:
    torch.empty(2**50, dtype=torch.uint8)


def raise_python_out_of_memory() -> None:
    raise MemoryError


OUT_OF_MEMORY = [raise_gpu_out_of_memory, raise_cpu_out_of_memory, raise_python_out_of_memory]


def with_memory_for(scorer: DensityScorer, most: int, fail) -> list[int]:
    """Makes `scorer` fail above `most` images at a time; returns the sizes that it tries, as they come."""
    sizes: list[int] = []
    remove = scorer.remove

    def limited(mae: MaskedAutoencoder, images: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(images))
        if len(images) > most:
            fail()
        return remove(mae, images, visible)

    scorer.remove = limited
    return sizes


@pytest.mark.parametrize("fail", OUT_OF_MEMORY)
def test_out_of_memory_halves_the_micro_batch_for_good_and_scores_stay(fail):
    model, images, visible = random_mae(SMALL), random_images(SMALL, 11), random_visible(SMALL, 11, 5)
    expected = DensityScorer(model, micro_batch=11)(images, visible)
    scorer = DensityScorer(model, micro_batch=8)
    sizes = with_memory_for(scorer, 3, fail)
    torch.testing.assert_close(scorer(images, visible), expected, rtol=1e-5, atol=0)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert scorer.micro_batch == 2
    sizes.clear()
    torch.testing.assert_close(scorer(images[:4], visible[:4]), expected[:4], rtol=1e-5, atol=0)
    assert sizes == [2, 2]


def test_what_is_halved_is_what_did_not_fit_not_what_was_allowed():
    model, images, visible = random_mae(SMALL), random_images(SMALL, 6), random_visible(SMALL, 6, 5)
    scorer = DensityScorer(model, micro_batch=1000)
    sizes = with_memory_for(scorer, 3, raise_gpu_out_of_memory)
    scorer(images, visible)
    assert sizes == [6, 3, 3]


@pytest.mark.parametrize("fail", OUT_OF_MEMORY)
def test_one_image_that_does_not_fit_is_a_memory_error_that_names_the_device(fail):
    scorer = DensityScorer(random_mae(SMALL), micro_batch=4)
    with_memory_for(scorer, 0, fail)
    with pytest.raises(MemoryError, match="cpu has no memory for one image"):
        scorer(random_images(SMALL, 2), random_visible(SMALL, 2, 5))


def test_an_error_that_is_not_about_memory_passes_through_at_once():
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    scorer = DensityScorer(random_mae(SMALL), micro_batch=4)
    sizes = with_memory_for(scorer, 0, fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        scorer(random_images(SMALL, 4), random_visible(SMALL, 4, 5))
    assert sizes == [4]


@pytest.mark.parametrize(("precision", "least_tau"), [("fp16", 0.97), ("bf16", 0.9)])
@pytest.mark.parametrize("removal", REMOVALS)
def test_scores_in_sixteen_bits_rank_nearly_as_in_fp32(removal, precision, least_tau):
    model, images, visible = random_mae(SMALL), random_images(SMALL, 16), random_visible(SMALL, 16, 8)
    exact = DensityScorer(model, removal=removal)(images, visible)
    rounded = DensityScorer(model, removal=removal, precision=precision)(images, visible)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert kendall_tau(exact, rounded).mean() > least_tau


def test_the_precision_of_a_cpu_is_one_that_its_scorer_takes():
    precision = fastest_trusted(torch.device("cpu"))
    assert precision in ("fp32", "bf16")
    DensityScorer(random_mae(SMALL), precision=precision)(random_images(SMALL, 1), random_visible(SMALL, 1, 5))


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize(("config", "n_visible"), SHAPES.values(), ids=SHAPES)
def test_flops_are_what_torch_counts_while_scoring(config, n_visible, removal):
    scorer = DensityScorer(random_mae(config), removal=removal)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # it does not know what the fused attention costs
        scorer(random_images(config, 1), random_visible(config, 1, n_visible))
    assert density_flops(config, n_visible, removal) == counter.get_total_flops()


def test_flops_of_the_base_model_are_a_little_less_than_twenty_decoder_passes():
    """The published formulation costs 216 GFLOP: an encoder pass of 3.4 and twenty decoder passes of 10.7."""
    assert 200e9 < density_flops(PRESETS["base"], 19) < 216e9


@pytest.mark.parametrize("preset", PRESETS)
def test_more_images_are_computed_at_a_time_on_a_gpu_and_always_one_at_least(preset):
    on_cpu, on_gpu = (default_micro_batch(PRESETS[preset], torch.device(device)) for device in ("cpu", "cuda"))
    assert 1 <= on_cpu < on_gpu


def test_patches_are_cut_and_put_together_again():
    images = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16)
    patches = patchify(images, 4)
    assert patches.shape == (2, 16, 48)
    assert patches[1, 6].view(4, 4, 3).equal(images[1, :, 4:8, 8:12].permute(1, 2, 0))
    assert unpatchify(patches, 4).equal(images)


@pytest.mark.parametrize("pixel_target", ["raw", "normalized"])
def test_the_pixel_target_is_patches_as_they_are_or_each_with_mean_zero_and_variance_one(pixel_target):
    config = MaeConfig(
        image_size=16,
        patch_size=4,
        width=16,
        heads=1,
        decoder_width=16,
        decoder_heads=1,
        depth=1,
        decoder_depth=1,
        pixel_target=pixel_target,
    )
    images = 3 + torch.randn(2, 3, 16, 16)
    target = MaskedAutoencoder(config).target(images)
    if pixel_target == "raw":
        assert target.equal(patchify(images, 4))
    else:
        torch.testing.assert_close(target.mean(-1), torch.zeros(2, 16), rtol=0, atol=1e-5)
        torch.testing.assert_close(target.var(-1), torch.ones(2, 16), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 30}, "MAE width: expected a multiple of 4 heads and of 4, came 30"),
        ({"decoder_width": 25}, "MAE decoder_width: expected a multiple of 2 heads and of 4, came 25"),
        ({"image_size": 33}, "MAE image_size: expected a multiple of patch_size 8, came 33"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused(change, message):
    values = {
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "heads": 4,
        "decoder_width": 24,
        "decoder_heads": 2,
    }
    with pytest.raises(ValueError, match=message):
        MaeConfig(**{**values, **change})


def test_masks_of_a_partition_are_scored_whole():
    """Masks of two sizes, as the stage scores them: each size by itself."""
    visible = torch.from_numpy(
        draw_masks(0, "a", 0, masking="partition", n_masks=3, n_patches=16, mask_ratio=0.67).astype(np.int64)
    )
    model, image = random_mae(SMALL), random_images(SMALL, 1)
    scored = torch.zeros(16)
    for row in visible:
        shown = row[row >= 0][None]
        scored[shown[0]] = DensityScorer(model)(image, shown)[0]
    assert (scored > 0).all()
