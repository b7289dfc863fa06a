"""`ltrp-pipeline export`"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click
import cloup

from pipeline.help import command
from pipeline.options import Out
from storage.locations import locate


@command(
    "export --ranker work/ranker --out ranker.pt2",
    "export --ranker work/ranker --format onnx --out ranker.onnx",
)
@cloup.option("--ranker", required=True, help="Ranker, as for rank.")
@cloup.option(
    "--format",
    "format_",
    type=click.Choice(["torch", "onnx"]),
    default="torch",
    show_default=True,
    help="torch.export's, which PyTorch runs without this project, or ONNX.",
)
@cloup.option("--out", type=Out("file"), required=True, help="File to write; for torch its name ends in .pt2.")
def export(ranker: str, format_: str, out: str) -> None:
    """Write a ranker as a program that runs without this project.

    The written file is run on random images, and kept only if its scores are the ranker's.
    """
    from ranker.export import (
        INPUT,
        OUTPUT,
        PROGRAM_ENDING,
        check_name,
        check_onnx,
        check_program,
        export_onnx,
        export_program,
    )
    from ranker.patch_ranker import PatchRanker
    from stages.ranking.load_ranker import load_ranker

    if format_ == "torch":
        check_name(out)
    elif out.endswith(PROGRAM_ENDING):
        raise ValueError(f"{out}: expected another ending than {PROGRAM_ENDING}, which programs of torch.export have")
    opened = PatchRanker(load_ranker(ranker))
    write, check = {"torch": (export_program, check_program), "onnx": (export_onnx, check_onnx)}[format_]
    place = locate(out)
    with TemporaryDirectory() as folder:  # it is run before it is kept, and only a file on a disk can be
        path = Path(folder, out.rpartition("/")[2])
        write(opened, path)
        difference = check(path, opened)
        place.write("", path.read_bytes())
        megabytes = path.stat().st_size / 1e6
    size = opened.config.image_size
    click.echo(f"{out}: a ranker of {opened.config.n_patches} patches, {megabytes:.1f} MB.")
    click.echo(f"  input   {INPUT} (B, 3, {size}, {size}) float32, ImageNet's mean and standard deviation taken out")
    click.echo(f"  output  {OUTPUT} (B, {opened.config.n_patches}) float32, patches in raster order")
    click.echo(f"Largest difference to the ranker's scores, on random images: {difference:.1e}.")
