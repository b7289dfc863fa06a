"""How fast scores are computed, against the published formulation on the same weights, images and threads.

    python benchmarks/score_throughput.py --preset base --images 2 --rounds 3

Needs torch, timm and this repository; with `--command` the whole installation. Contenders take turns in one
process, round after round, so that what else the machine does meets all of them; ratios are of one round.

- `published`: one decoder pass over the whole sequence for each removed patch, batched over images, with an
  attention mask and an explicit softmax, in float32, and under autocast in the further precisions.
- `ours` in float32: all removals together, the removed token left out, nothing computed that is not used.
- `ours` in further precisions, by default the one that `score` would choose here.

Every rate counts the operations that ours needs, the published formulation's too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from published_formulation import published_scores
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ranker.metrics import kendall_tau
from stages.compute.autocast import autocast
from stages.density.cost import density_flops
from stages.density.mae import PRESETS, MaskedAutoencoder
from stages.density.mae_checkpoints import load_mae, save_mae
from stages.density.masks import draw_masks, visible_per_mask
from stages.density.precision import fastest_trusted
from stages.density.scorer import DensityScorer, Precision
from stages.images.views import evaluation_view, render

ROOT = Path(__file__).resolve().parents[1]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".webp"}
PUBLISHED_BATCH = {"cpu": 8, "cuda": 64}
"""Images that the published formulation computes at a time: about where it is fastest."""
SEED = 0

not_needed = {"ray", "zarr", "webdataset", "pydantic", "click"} & sys.modules.keys()
assert not not_needed, f"the scorer alone needs none of these: {not_needed}"


def load_images(folder: Path | None, count: int, size: int) -> Tensor:
    """uint8 (count, 3, size, size): evaluation crops of photographs below `folder`, or built-in scenes."""
    if folder is None:
        from stages.sources.scenes import draw_scene  # needs more than the scorer does

        pictures = [Image.fromarray(draw_scene(SEED, number, size).image) for number in range(count)]
    else:
        pictures = [Image.open(path).convert("RGB") for path in photographs(folder, count)]
    views = [torch.from_numpy(render(one, evaluation_view(*one.size), size).copy()) for one in pictures]
    return torch.stack(views).permute(0, 3, 1, 2).contiguous()


def photographs(folder: Path, count: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTOGRAPHS)[:count]
    if len(found) < count:
        raise SystemExit(f"{folder}: expected at least {count} photographs, got {len(found)}")
    return found


def matmul_rate(device: torch.device, precision: Precision) -> float:
    """FLOP a second of a linear layer that is large for the device: best of three."""
    side = 8192 if device.type == "cuda" else 1024
    inputs, weight = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    seconds = [timed(lambda: torch.nn.functional.linear(inputs, weight), device)[0] for _ in range(4)]
    return 2 * side**3 / min(seconds[1:])


def timed(work: Callable[[], Tensor], device: torch.device) -> tuple[float, Tensor]:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, result


def in_batches(score: Callable[[Tensor, Tensor], Tensor], images: Tensor, visible: Tensor) -> Tensor:
    """visible (M, B, K) → scores (M, B, K)."""
    return torch.stack([score(images, mask) for mask in visible])


def compare(arguments: argparse.Namespace, mae: MaskedAutoencoder, images: Tensor, visible: Tensor) -> dict:
    """Times and scores of all contenders, and what follows from them."""
    device = torch.device(arguments.device)
    scorers = {
        f"ours {precision}": DensityScorer(mae, precision=precision, device=device, micro_batch=arguments.micro_batch)
        for precision in dict.fromkeys(["fp32", *arguments.precision])
    }

    batch = PUBLISHED_BATCH[device.type]

    def published(images: Tensor, visible: Tensor, precision: Precision = "fp32") -> Tensor:
        parts = zip(images.split(batch), visible.split(batch), strict=True)
        with autocast(device, precision):
            return torch.cat([published_scores(mae, i.to(device), v.to(device)).float().cpu() for i, v in parts])

    precisions = dict.fromkeys(["fp32", *arguments.precision])
    contenders: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        **{f"published {precision}": partial(published, precision=precision) for precision in precisions},
        **scorers,
    }
    for score in contenders.values():  # warm-up
        score(images[:1], visible[0, :1])
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    scores: dict[str, Tensor] = {}
    rates: dict[str, list[float]] = {name.rpartition(" ")[2]: [] for name in contenders}
    for number in range(arguments.rounds):
        for precision, measured in rates.items():
            measured.append(matmul_rate(device, precision))
        order = list(contenders)[:: -1 if number % 2 else 1]
        for name in order:
            work = contenders[name]
            elapsed, scores[name] = timed(lambda work=work: in_batches(work, images, visible), device)
            seconds[name].append(elapsed)
            print(
                f"round {number + 1} of {arguments.rounds}: {name} {elapsed:.3g} s",
                file=sys.stderr,
                flush=True,
            )
    lists = visible.shape[0] * visible.shape[1]
    flops = lists * density_flops(mae.config, visible.shape[2])
    exact = scores["ours fp32"]
    results = {}
    for name, taken in seconds.items():
        tau = kendall_tau(exact, scores[name])
        peak = max(rates[name.rpartition(" ")[2]])
        results[name] = {
            "seconds": taken,
            "masks_per_second": lists / statistics.median(taken),
            "times_published": spread([a / b for a, b in zip(seconds["published fp32"], taken, strict=True)]),
            "times_ours_fp32": spread([a / b for a, b in zip(seconds["ours fp32"], taken, strict=True)]),
            "tau_mean": tau.mean().item(),
            "tau_least": tau.min().item(),
            "largest_relative_difference": ((scores[name] - exact).abs() / exact.abs()).max().item(),
            "flop_per_second": flops / statistics.median(taken),
            "share_of_matmul_rate": flops / statistics.median(taken) / peak,
        }
    return {
        "matmul_flop_per_second": {name: max(measured) for name, measured in rates.items()},
        "results": results,
    }


def spread(ratios: list[float]) -> dict[str, float]:
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def measure_command(arguments: argparse.Namespace, mae: MaskedAutoencoder, images: Tensor, visible: Tensor) -> dict:
    """The `score` command on shards of the same number of images and masks, as a share of the scorer alone.

    The scorer alone is timed before and after it. `whole` is from start to exit; `scoring` from the first
    shard's start to the last one's end, which is what a long run comes to.
    """
    precision = arguments.precision[0]
    scorer = DensityScorer(mae, precision=precision, device=arguments.device, micro_batch=arguments.micro_batch)
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        save_mae(mae, str(at / "mae"), {})
        (at / "images").mkdir()
        if arguments.images_from:
            for number, path in enumerate(photographs(arguments.images_from, arguments.images)):
                (at / "images" / f"{number:05d}{path.suffix}").write_bytes(path.read_bytes())
        else:
            for number in range(arguments.images):
                pixels = images[number].permute(1, 2, 0).numpy()
                Image.fromarray(pixels).save(at / "images" / f"{number:05d}.png")
        run(
            [
                *command,
                "shard",
                "--images",
                at / "images",
                "--out",
                at / "shards",
                "--shard-size",
                arguments.shard_size,
            ]
        )
        score = [*command, "score", "--shards", at / "shards", "--mae", at / "mae", "--out", at / "store"]
        score += ["--masking", "random", "--masks", arguments.masks, "--mask-ratio", arguments.mask_ratio]
        score += ["--precision", precision, "--device", arguments.device, "--events", at / "events"]
        score += ["--actors", 1, "--cpus-per-actor", arguments.threads]
        before = timed(lambda: in_batches(scorer, images, visible), scorer.device)[0]
        started = time.perf_counter()
        run(score)
        whole = time.perf_counter() - started
        after = timed(lambda: in_batches(scorer, images, visible), scorer.device)[0]
        events = [json.loads(line) for line in (at / "events").read_text().splitlines()]
    begun = min(event["time"] for event in events if event["event"] == "shard_started")
    ended = max(event["time"] for event in events if event["event"] == "shard_done")
    alone = (before + after) / 2
    return {
        "precision": precision,
        "scorer_alone_seconds": [before, after],
        "whole_seconds": whole,
        "scoring_seconds": ended - begun,
        "share_whole": alone / whole,
        "share_scoring": alone / (ended - begun),
    }


def run(command: list[object]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([str(part) for part in command], check=True, env=environment, stdout=subprocess.DEVNULL)


COLUMNS = {
    "masks/s": ("masks_per_second", "{:.3g}"),
    "x published": ("times_published", "{median:.2f} ({least:.2f}-{most:.2f})"),
    "x ours fp32": ("times_ours_fp32", "{median:.2f} ({least:.2f}-{most:.2f})"),
    "tau": ("tau_mean", "{:.4f}"),
    "least tau": ("tau_least", "{:.3f}"),
    "max diff": ("largest_relative_difference", "{:.1e}"),
    "FLOP/s": ("flop_per_second", "{:.3g}"),
    "of matmul": ("share_of_matmul_rate", "{:.0%}"),
}
"""tau and the largest relative difference are against ours in fp32."""


def table(report: dict) -> str:
    rows = [["", *COLUMNS]]
    for name, result in report["results"].items():
        row = [name]
        for key, form in COLUMNS.values():
            value = result[key]
            row.append(form.format(**value) if isinstance(value, dict) else form.format(value))
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    rates = [f"{name} {rate:.3g}" for name, rate in report["matmul_flop_per_second"].items()]
    lines += ["", f"matmul, FLOP/s: {', '.join(rates)}"]
    if "command" in report:
        shares = report["command"]
        lines.append(
            f"the score command, as a share of the scorer alone in {shares['precision']}: "
            f"{shares['share_scoring']:.0%} while scoring, {shares['share_whole']:.0%} from start to exit"
        )
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="architecture, with random weights [tiny]")
    parser.add_argument("--mae", help="a checkpoint instead, of any family that `score` takes")
    parser.add_argument("--images", type=int, default=16, help="number of images [16]")
    parser.add_argument("--images-from", type=Path, help="folder of photographs, instead of built-in scenes")
    parser.add_argument("--masks", type=int, default=1, help="random masks for each image [1]")
    parser.add_argument("--mask-ratio", type=float, default=0.9, help="part of the patches that a mask hides [0.9]")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each contender has [5]")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch [all cores]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--precision", nargs="+", choices=DTYPES, help="besides fp32 [what `score` chooses here]")
    parser.add_argument("--micro-batch", type=int, help="images computed at a time by ours [what suits the device]")
    parser.add_argument("--command", action="store_true", help="measure the whole `score` command too")
    parser.add_argument("--shard-size", type=int, default=64, help="images in a shard for --command [64]")
    parser.add_argument("--json", type=Path, help="file for all figures")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    mae = load_mae(arguments.mae).build() if arguments.mae else MaskedAutoencoder(PRESETS[arguments.preset])
    mae = mae.eval().requires_grad_(False).to(arguments.device)
    config = mae.config
    default = fastest_trusted(torch.device(arguments.device))
    arguments.precision = arguments.precision or [default]
    visible = torch.stack(
        [
            torch.from_numpy(
                draw_masks(
                    SEED,
                    str(number),
                    0,
                    masking="random",
                    n_masks=arguments.masks,
                    n_patches=config.n_patches,
                    mask_ratio=arguments.mask_ratio,
                )
            ).long()
            for number in range(arguments.images)
        ],
        dim=1,
    )
    images = load_images(arguments.images_from, arguments.images, config.image_size)
    report = {
        "model": arguments.mae or f"{arguments.preset}, random weights",
        "images": arguments.images,
        "masks": arguments.masks,
        "visible": visible_per_mask(config.n_patches, arguments.mask_ratio),
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or "cpu",
        "threads": arguments.threads,
        "torch": torch.__version__,
        "default_precision": default,
        "micro_batch": DensityScorer(mae, micro_batch=arguments.micro_batch, device=arguments.device).micro_batch,
        "load_before": os.getloadavg(),
        **compare(arguments, mae, images, visible),
    }
    if arguments.command:
        report["command"] = measure_command(arguments, mae, images, visible)
    report["load_after"] = os.getloadavg()
    facts = (
        "model",
        "images",
        "masks",
        "visible",
        "device",
        "threads",
        "torch",
        "default_precision",
        "micro_batch",
    )
    print(", ".join(f"{fact.replace('_', ' ')}: {report[fact]}" for fact in facts), end="\n\n")
    print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
