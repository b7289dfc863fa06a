"""`ltrp-pipeline demo`"""

from __future__ import annotations

import click

from pipeline.commands.run import run_stages
from pipeline.config import PipelineFile
from stages.score_maps import draw_score_maps
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import expand_shards

PICTURED = 12


@click.command()
@click.option("--out", default="ltrp-demo", show_default=True, help="Folder that everything goes to.")
@click.option("--scenes", default=400, show_default=True, help="Built-in scenes to draw.")
@click.option("--steps", default=1000, show_default=True, help="Steps of MAE training.")
@click.pass_context
def demo(ctx: click.Context, out: str, scenes: int, steps: int) -> None:
    """Run everything on built-in scenes: no data, no download, minutes on two cores.

    Draws scenes, trains a small MAE on them, scores their patches. Run again to go on, or to see that nothing is left.
    """
    training = {"steps": steps, "min_scale": 0.5, "warmup_steps": min(50, steps)}
    file = PipelineFile(
        "the demo",
        {
            "shard": {"scenes": scenes, "shard_size": 50, "out": f"{out}/shards"},
            "pretrain_mae": {"shards": [f"{out}/shards"], "out": f"{out}/mae", **training},
            "score": {"shards": [f"{out}/shards"], "mae": f"{out}/mae", "out": f"{out}/scores"},
        },
    )
    if status := run_stages(file):
        ctx.exit(status)
    shard = expand_shards([f"{out}/shards"])[0]
    picture = draw_score_maps(PatchStore.open(f"{out}/scores", CONTENT), shard, count=PICTURED)
    picture.save(f"{out}/scores.png")
    click.echo(f"""
Made in {out}/:
  shards/                   {scenes} scenes in webdataset tars, with labels, boxes and masks
  mae/                      a masked autoencoder trained on them; reconstructions.png shows what it can do
  scores/                   the semantic density of each patch, a Zarr store; scores.png shows some as maps
  scores.events.jsonl       what happened when
To prove that nothing is missing: ltrp-pipeline verify {out}/scores""")
