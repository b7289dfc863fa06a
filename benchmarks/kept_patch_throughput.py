"""How much faster a vision transformer is on the patches that are kept, with and without a ranker in front of it.

    python benchmarks/kept_patch_throughput.py --size base --keep-ratio 0.25,0.5,0.75 --batch 64 --device cuda
    python benchmarks/kept_patch_throughput.py --size base --ranker ltrp-small-112 --threads 1

Needs torch, timm, torchvision and this repository, and no data: the model's weights and images are random. Each keep
ratio is measured in turns with the full model beside it, so that what else the machine does meets both; inference with
a ranker, which ranks all patches of the same images first, likewise. Training reads cached scores. A ranker of a size
by name is random and sees images as the model does; one that was trained (a name of the package, a folder) at its own
resolution, to which it resizes them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import cross_entropy, one_hot

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ranker import PatchRanker
from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from ranker.pretrained import RankerCheckpoint
from ranker.selection import kept_count
from stages.compute.autocast import autocast
from stages.compute.flops import count_flops
from stages.tasks.classify import Classifier
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.throughput import measure, time_in_turns

VIT_SIZES = {name: SIZES[name] for name in ("tiny", "small", "base")}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
NO_RANKER = "none"
CLASSES = 1000
SEED = 0

not_needed = {"ray", "zarr", "webdataset", "click"} & sys.modules.keys()
assert not not_needed, f"models alone need none of these: {not_needed}"


def build_model(size: str, image_size: int, patch_size: int) -> Classifier:
    """A classifier on kept patches, with random weights."""
    sizes = VIT_SIZES[size]
    vit = VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=sizes["width"],
        depth=sizes["depth"],
        num_heads=sizes["heads"],
        num_classes=0,
    )
    return Classifier(KeptPatchEncoder(vit), CLASSES, cross_entropy)


def build_ranker(name: str, image_size: int, patch_size: int) -> PatchRanker:
    if name not in SIZES:
        return PatchRanker.from_pretrained(name)
    config = RankerConfig(image_size=image_size, patch_size=patch_size, **SIZES[name])
    return PatchRanker(RankerCheckpoint(config, PatchRankingTransformer(config).state_dict(), {}))


class Ranked(torch.nn.Module):
    """A model on the patches that a ranker puts first."""

    def __init__(self, model: Classifier, ranker: PatchRanker, ratio: float) -> None:
        super().__init__()
        self.model, self.ranker, self.ratio = model, ranker, ratio

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(images, self.ranker.keep(images, self.ratio, self.model.encoder.patch_size))


def with_ranker(
    model: Classifier,
    ranker: PatchRanker,
    ratio: float,
    images: torch.Tensor,
    precision: str,
    seconds: float,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Operations for an image, and images a second of the full model and of the ranked one in turns."""
    ranked, device = Ranked(model, ranker, ratio).eval(), images.device
    every = torch.arange(model.encoder.grid**2, device=device).expand(len(images), -1)

    def work(choose: bool) -> None:
        with torch.inference_mode(), autocast(device, precision):
            ranked(images) if choose else model(images, every)

    full, kept = time_in_turns([partial(work, False), partial(work, True)], device, seconds, clock)
    return {
        "flops_with_ranker": count_flops(ranked, images[:1]),
        "inference_with_ranker": len(images) / kept,
        "full_inference_beside_it": len(images) / full,
    }


def compare(arguments: argparse.Namespace) -> dict:
    """All figures, by keep ratio; operations and seconds are of one image."""
    device, clock = torch.device(arguments.device), CLOCKS[arguments.clock]
    torch.manual_seed(SEED)
    model = build_model(arguments.size, arguments.image_size, arguments.patch_size).to(device)
    images = torch.randn(arguments.batch, 3, arguments.image_size, arguments.image_size, device=device)
    classes = torch.randint(CLASSES, (arguments.batch,), device=device)
    targets = {"classes": one_hot(classes, CLASSES).float()}
    ranker = None
    if arguments.ranker != NO_RANKER:
        ranker = build_ranker(arguments.ranker, arguments.image_size, arguments.patch_size).to(device)
    count = model.encoder.grid**2
    ratios = {}
    for ratio in arguments.keep_ratio:
        order = torch.rand(arguments.batch, count, device=device).argsort(dim=1)
        kept = order[:, : kept_count(count, ratio)].sort(dim=1).values
        speed = measure(
            model, images, kept, targets, device, arguments.precision, seconds=arguments.seconds, clock=clock
        )
        ratios[f"{ratio:g}"] = {
            "kept": kept.shape[1],
            "flops": speed.flops,
            "full_flops": speed.full_flops,
            "inference": speed.inference,
            "full_inference": speed.full_inference,
            "training": speed.training,
            "full_training": speed.full_training,
            **(
                with_ranker(model, ranker, ratio, images, arguments.precision, arguments.seconds, clock)
                if ranker
                else {}
            ),
        }
        print(f"keep ratio {ratio:g}: measured", file=sys.stderr, flush=True)
    return {"patches": count, "ratios": ratios}


COLUMNS = {
    "GFLOP": ("flops", "full_flops", 1e9),
    "with ranker": ("flops_with_ranker", "full_flops", 1e9),
    "inference": ("inference", "full_inference", 1.0),
    "inference with ranker": ("inference_with_ranker", "full_inference_beside_it", 1.0),
    "training": ("training", "full_training", 1.0),
}
"""Images a second, but for the operations of one image; beside each how many times that of the full model."""


def table(report: dict) -> str:
    rows = [["keep ratio", "patches", *(cell for name in COLUMNS for cell in (name, "x full"))]]
    for ratio, result in report["ratios"].items():
        row = [ratio, str(result["kept"])]
        for key, full, unit in COLUMNS.values():
            value = result.get(key)
            row += ["-", "-"] if value is None else [f"{value / unit:.4g}", f"{value / result[full]:.2f}"]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def parse() -> argparse.Namespace:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=VIT_SIZES, default="tiny", help="of the model [tiny]")
    parser.add_argument(
        "--ranker", default="nano", help=f"{', '.join(SIZES)}, a trained one by name or folder, or {NO_RANKER} [nano]"
    )
    parser.add_argument("--image-size", type=int, default=224, help="pixels a side [224]")
    parser.add_argument("--patch-size", type=int, default=16, help="pixels a side [16]")
    parser.add_argument("--keep-ratio", type=ratios_in, default="0.25,0.5,0.75", help="with commas [0.25,0.5,0.75]")
    parser.add_argument("--batch", type=int, default=64 if cuda else 8, help="images at a time [64 on a GPU, else 8]")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured for each keep ratio, about [3]")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="'cpu': what this process takes, where others share the core"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch [all cores]")
    parser.add_argument("--device", default="cuda" if cuda else "cpu", help="cpu or cuda")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], help="[fp16 on a GPU, else fp32]")
    parser.add_argument("--json", type=Path, help="file for all figures")
    return parser.parse_args()


def ratios_in(text: str) -> list[float]:
    ratios = [float(part) for part in text.split(",")]
    if not all(0 < ratio <= 1 for ratio in ratios):
        raise argparse.ArgumentTypeError(f"expected numbers above 0 and up to 1, got {text}")
    return ratios


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    arguments.precision = arguments.precision or ("fp16" if arguments.device == "cuda" else "fp32")
    report = {
        "model": f"{arguments.size}/{arguments.patch_size} at {arguments.image_size} pixels",
        "ranker": arguments.ranker,
        "batch": arguments.batch,
        "precision": arguments.precision,
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        "threads": arguments.threads,
        "clock": arguments.clock,
        "torch": torch.__version__,
        **compare(arguments),
    }
    facts = ", ".join(f"{name}: {value}" for name, value in report.items() if name != "ratios")
    print(facts, table(report), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
