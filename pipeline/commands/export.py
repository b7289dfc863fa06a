"""`ltrp-pipeline export`"""

from __future__ import annotations

import click

from pipeline.help import command


@command(
    "export --ranker work/ranker --out ranker.pt2",
    "export --ranker work/ranker --format onnx --out ranker.onnx",
)
@click.option("--ranker", required=True, help="Folder that train-ranker wrote, or a published LTRP checkpoint (.pth).")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["torch", "onnx"]),
    default="torch",
    show_default=True,
    help="torch.export's, which PyTorch runs without this project, or ONNX.",
)
@click.option("--out", required=True, help="File to write; for torch its name ends in .pt2.")
@click.pass_context
def export(ctx: click.Context, ranker: str, format_: str, out: str) -> None:
    """Write a ranker as a program that runs without this project.

    The written file is run on random images, and kept only if its scores are the ranker's.
    """
    from pipeline.runs.export import run_export

    ctx.exit(run_export(ranker, format_, out))
