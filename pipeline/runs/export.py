"""`ltrp-pipeline export`"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from storage.locations import locate


def run_export(ranker: str, format_: str, out: str) -> int:
    """Writes and checks the file; returns the exit status."""
    from ranker.export import INPUT, OUTPUT, check_onnx, check_program, export_onnx, export_program
    from ranker.patch_ranker import PatchRanker
    from stages.ranking.load_ranker import load_ranker

    opened = PatchRanker(load_ranker(ranker))
    write, check = {"torch": (export_program, check_program), "onnx": (export_onnx, check_onnx)}[format_]
    place = locate(out)
    with ExitStack() as held:
        # What is written is run before it is kept, and only a file on a disk can be.
        path = place.local_path() or Path(held.enter_context(TemporaryDirectory()), out.rpartition("/")[2])
        write(opened, path)
        try:
            difference = check(path, opened)
        except ValueError:
            path.unlink()
            raise
        if not place.local_path():
            place.write("", path.read_bytes())
        megabytes = path.stat().st_size / 1e6
    size = opened.config.image_size
    click.echo(f"{out}: a ranker of {opened.config.n_patches} patches, {megabytes:.1f} MB.")
    click.echo(f"  input   {INPUT} (B, 3, {size}, {size}) float32, ImageNet's mean and standard deviation taken out")
    click.echo(f"  output  {OUTPUT} (B, {opened.config.n_patches}) float32, patches in raster order")
    click.echo(f"Largest difference to the ranker's scores, on random images: {difference:.1e}.")
    return 0
