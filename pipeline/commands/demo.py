"""`ltrp-pipeline demo`"""

from __future__ import annotations

import click

from pipeline.help import command


@command(
    "demo",
    "demo --out somewhere --scenes 200 --tasks",
)
@click.option("--out", default="ltrp-demo", show_default=True, help="Folder that everything goes to.")
@click.option("--scenes", default=400, show_default=True, help="Built-in scenes to draw.")
@click.option("--steps", default=1000, show_default=True, help="Steps of MAE training.")
@click.option("--tasks/--no-tasks", default=False, help="Train all downstream tasks too: a quarter of an hour more.")
@click.option("--task-scenes", default=2000, show_default=True, help="Built-in scenes to train these on.")
@click.pass_context
def demo(ctx: click.Context, out: str, scenes: int, steps: int, tasks: bool, task_scenes: int) -> None:
    """Run everything on built-in scenes: no data, no download, minutes on two cores.

    Draws scenes, trains a small MAE on them, scores their patches, trains a ranker on the scores, and says how much of
    other scenes' objects its best patches cover. Run again to go on, or to see that nothing is left.
    """
    from pipeline.runs.demo import run_demo

    ctx.exit(run_demo(out, scenes, steps, tasks, task_scenes))
