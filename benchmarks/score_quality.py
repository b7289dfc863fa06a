"""How well scores agree with the mean of other masks, against what they cost: the table in docs/results.md.

    OMP_NUM_THREADS=1 python benchmarks/score_quality.py --shards work/val --mae work/mae --images 48 --seeds 0 1

For each kind of masks, full and sparse decoding, with the geometry of masks controlled and without, after 1, 2, 4, ...
rounds: Spearman's correlation with the mean of the reference's masks (random partitions of another seed, exact),
the mean over images and seeds. What `ltrp-pipeline calibrate` does once, here once for each seed, with the paper's
independent random masks beside it. `--out` keeps each seed's figures: what is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages.calibrate import CalibrateConfig, Calibration, calibrate
from stages.density.mae_checkpoints import load_mae
from stages.density.masks import Masking, draw_masks, masks_per_round

MASKINGS: tuple[Masking, ...] = ("random", "partition", "spread")


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(1)
    print(masks_table(arguments.mask_ratio, load_mae(arguments.mae).config.n_patches))
    found = [measured(arguments, seed) for seed in arguments.seeds]
    print(agreement_table(found))
    print(comparison(found))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", nargs="+", required=True, help="images that the MAE was not trained on")
    parser.add_argument("--mae", required=True)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--reference-rounds", type=int, default=4)
    parser.add_argument("--mask-ratio", type=float, default=0.9)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, help="folder for each seed's figures")
    return parser.parse_args()


def measured(arguments: argparse.Namespace, seed: int) -> Calibration:
    """Of the masks of one seed; those of the reference are never another seed's."""
    file = arguments.out / f"seed-{seed}.json" if arguments.out else None
    if file and file.exists():
        return TypeAdapter(Calibration).validate_json(file.read_bytes())
    config = CalibrateConfig(
        shards=arguments.shards,
        mae=arguments.mae,
        out="",
        images=arguments.images,
        rounds=arguments.rounds,
        reference_rounds=arguments.reference_rounds,
        random=True,
        mask_ratio=arguments.mask_ratio,
        seed=2 * seed,
        precision=arguments.precision,
        device=arguments.device,
    )
    started = time.perf_counter()

    def tell(through: int, total: int) -> None:
        print(f"seed {seed}: {through}/{total} images, {time.perf_counter() - started:.0f} s", file=sys.stderr)

    found = calibrate(config, tell)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found.to_json()))
    return found


def agreement_table(found: list[Calibration]) -> str:
    """Mean over seeds of means over images, the half width of its interval over images, and the range over seeds."""
    rows: dict[tuple[str, str, str], dict[int, str]] = {}
    for points in zip(*(each.points for each in found), strict=True):
        first = points[0]
        means = [each.agreement.mean for each in points]
        half = np.mean([each.agreement.high - each.agreement.low for each in points]) / 2
        spread = f", seeds {min(means):.3f} to {max(means):.3f}" if len(means) > 1 else ""
        cell = f"{first.flops / 1e9:.0f} GFLOP: **{np.mean(means):.3f}** ± {half:.3f}{spread}"
        rows.setdefault((first.choice.masking, first.choice.decode, first.control), {})[first.rounds] = cell
    rounds = sorted({number for row in rows.values() for number in row})
    lines = [f"| masks, decoded, control | {' | '.join(f'{number} rounds' for number in rounds)} |"]
    lines.append("| --- " * (1 + len(rounds)) + "|")
    lines += [f"| {', '.join(name)} | {' | '.join(row[number] for number in rounds)} |" for name, row in rows.items()]
    reliability = np.mean([each.reliability.mean for each in found])
    return "\n".join([*lines, f"\nOne half of the reference's masks agrees with the other at {reliability:.3f}."])


def comparison(found: list[Calibration]) -> str:
    """For each number of the paper's masks the cheapest way to agree as well."""
    means = [
        np.mean([each.agreement.mean for each in points]) for points in zip(*(f.points for f in found), strict=True)
    ]
    both = list(zip(found[0].points, means, strict=True))
    lines = ["As good as the paper's random masks, scored exactly:"]
    for point, mean in both:
        if (point.choice.masking, point.control) == ("random", "none"):
            best, reached = min((each for each in both if each[1] >= mean), key=lambda each: each[0].flops)
            lines.append(
                f"- {point.masks} of them ({point.flops / 1e9:.0f} GFLOP, {mean:.3f}): {best.choice.masking}, "
                f"{best.choice.decode}, {best.control}, {best.masks} masks ({best.flops / 1e9:.0f} GFLOP, "
                f"{reached:.3f}): {point.flops / best.flops:.1f} times less"
            )
    return "\n".join(lines)


def masks_table(ratio: float, n_patches: int, images: int = 60) -> str:
    """How evenly masks lie: from a masked patch to the nearest visible one, in patches."""
    side = round(n_patches**0.5)
    row, column = np.divmod(np.arange(n_patches), side)
    distance = np.hypot(row[:, None] - row, column[:, None] - column)
    lines = ["| masks | mean distance to the nearest visible patch | furthest of a mask, mean | ms a round |"]
    lines.append("| --- | --- | --- | --- |")
    for masking in MASKINGS:
        started, mean, furthest = time.perf_counter(), [], []
        drawn = [
            draw_masks(
                0,
                str(number),
                0,
                masking=masking,
                n_masks=masks_per_round(n_patches, ratio),
                n_patches=n_patches,
                mask_ratio=ratio,
            )
            for number in range(images)
        ]
        seconds = (time.perf_counter() - started) / images
        for mask in np.concatenate(drawn):
            visible = mask[mask >= 0]
            nearest = np.delete(distance, visible, axis=0)[:, visible].min(axis=1)
            mean.append(nearest.mean())
            furthest.append(nearest.max())
        lines.append(f"| {masking} | {np.mean(mean):.2f} | {np.mean(furthest):.2f} | {1000 * seconds:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
