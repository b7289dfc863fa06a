"""How much faster a vision transformer is on the patches that are kept, with and without a ranker in front of it.

    python benchmarks/kept_patch_throughput.py --size base --keep-ratio 0.25,0.5,0.75 --batch 64 --device cuda

Needs torch, timm, torchvision and this repository, and no data: weights and images are random. Each keep ratio is
measured in turns with the full model beside it, so that what else the machine does meets both. The ranker sees all
patches and takes the same images at a time; what it costs is added to inference, and training reads cached scores.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn.functional import cross_entropy, one_hot

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from ranker.selection import kept_count, top_patches
from stages.tasks.classify import Classifier
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.throughput import image_cost, measure

VIT_SIZES = {name: SIZES[name] for name in ("tiny", "small", "base")}
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


class Chooser(torch.nn.Module):
    """A ranker with random weights, and the choice of the patches that it puts first."""

    def __init__(self, size: str, image_size: int, patch_size: int) -> None:
        super().__init__()
        self.network = PatchRankingTransformer(
            RankerConfig(image_size=image_size, patch_size=patch_size, **SIZES[size])
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return top_patches(self.network(images), 0.5)  # a whole sort, so that any ratio takes the same time


def compare(arguments: argparse.Namespace) -> dict:
    """All figures, by keep ratio; operations and seconds are of one image."""
    device = torch.device(arguments.device)
    torch.manual_seed(SEED)
    model = build_model(arguments.size, arguments.image_size, arguments.patch_size).to(device)
    images = torch.randn(arguments.batch, 3, arguments.image_size, arguments.image_size, device=device)
    classes = torch.randint(CLASSES, (arguments.batch,), device=device)
    targets = {"classes": one_hot(classes, CLASSES).float()}
    chooser_flops = chooser_seconds = None
    if arguments.ranker != NO_RANKER:
        chooser = Chooser(arguments.ranker, arguments.image_size, arguments.patch_size).eval().to(device)
        chooser_flops, chooser_seconds = image_cost(
            chooser, images, device=device, precision=arguments.precision, seconds=arguments.seconds
        )
    count = model.encoder.grid**2
    ratios = {}
    for ratio in arguments.keep_ratio:
        order = torch.rand(arguments.batch, count, device=device).argsort(dim=1)
        kept = order[:, : kept_count(count, ratio)].sort(dim=1).values
        speed = measure(model, images, kept, targets, device, arguments.precision, seconds=arguments.seconds)
        ratios[f"{ratio:g}"] = {
            "kept": kept.shape[1],
            "flops": speed.flops,
            "full_flops": speed.full_flops,
            "inference": speed.inference,
            "full_inference": speed.full_inference,
            "training": speed.training,
            "full_training": speed.full_training,
            "flops_with_ranker": None if chooser_flops is None else speed.flops + chooser_flops,
            "inference_with_ranker": None if chooser_seconds is None else 1 / (1 / speed.inference + chooser_seconds),
        }
        print(f"keep ratio {ratio:g}: measured", file=sys.stderr, flush=True)
    return {"patches": count, "ratios": ratios}


COLUMNS = {
    "GFLOP": ("flops", "full_flops", 1e9),
    "with ranker": ("flops_with_ranker", "full_flops", 1e9),
    "inference": ("inference", "full_inference", 1.0),
    "inference with ranker": ("inference_with_ranker", "full_inference", 1.0),
    "training": ("training", "full_training", 1.0),
}
"""Images a second, but for the operations of one image; beside each how many times that of the full model."""


def table(report: dict) -> str:
    rows = [["keep ratio", "patches", *(cell for name in COLUMNS for cell in (name, "x full"))]]
    for ratio, result in report["ratios"].items():
        row = [ratio, str(result["kept"])]
        for key, full, unit in COLUMNS.values():
            value = result[key]
            row += ["-", "-"] if value is None else [f"{value / unit:.4g}", f"{value / result[full]:.2f}"]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def parse() -> argparse.Namespace:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=VIT_SIZES, default="tiny", help="of the model [tiny]")
    parser.add_argument("--ranker", choices=[*SIZES, NO_RANKER], default="nano", help="size of the ranker [nano]")
    parser.add_argument("--image-size", type=int, default=224, help="pixels a side [224]")
    parser.add_argument("--patch-size", type=int, default=16, help="pixels a side [16]")
    parser.add_argument("--keep-ratio", type=ratios_in, default="0.25,0.5,0.75", help="with commas [0.25,0.5,0.75]")
    parser.add_argument("--batch", type=int, default=64 if cuda else 8, help="images at a time [64 on a GPU, else 8]")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured for each keep ratio, about [3]")
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
        "torch": torch.__version__,
        **compare(arguments),
    }
    facts = ", ".join(f"{name}: {value}" for name, value in report.items() if name != "ratios")
    print(facts, table(report), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
