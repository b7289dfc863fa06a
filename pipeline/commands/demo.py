"""`ltrp-pipeline demo`"""

from __future__ import annotations

import click

from pipeline.commands.run import run_stages
from pipeline.config import PipelineFile
from ranker import PatchRanker
from stages.ranking.facts import read_facts
from stages.ranking.scored_shards import held_out, join_scores
from stages.score_maps import draw_held_out, draw_score_maps
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import expand_shards

PICTURED = 12
HELD_OUT = 10


@click.command()
@click.option("--out", default="ltrp-demo", show_default=True, help="Folder that everything goes to.")
@click.option("--scenes", default=400, show_default=True, help="Built-in scenes to draw.")
@click.option("--steps", default=1000, show_default=True, help="Steps of MAE training.")
@click.pass_context
def demo(ctx: click.Context, out: str, scenes: int, steps: int) -> None:
    """Run everything on built-in scenes: no data, no download, minutes on two cores.

    Draws scenes, trains a small MAE on them, scores their patches, and trains a ranker on the scores. Run again to go
    on, or to see that nothing is left.
    """
    short = {"epochs": 10, "warmup_epochs": 1, "batch_size": 32}
    training = {"steps": steps, "min_scale": 0.5, "warmup_steps": min(50, steps)}
    file = PipelineFile(
        "the demo",
        {
            "shard": {"scenes": scenes, "shard_size": 50, "out": f"{out}/shards"},
            "pretrain_mae": {"shards": [f"{out}/shards"], "out": f"{out}/mae", **training},
            "score": {"shards": [f"{out}/shards"], "mae": f"{out}/mae", "out": f"{out}/scores"},
            "train_ranker": {"shards": [f"{out}/shards"], "scores": f"{out}/scores", "out": f"{out}/ranker", **short},
        },
    )
    if status := run_stages(file):
        ctx.exit(status)
    shards = expand_shards([f"{out}/shards"])
    store = PatchStore.open(f"{out}/scores", CONTENT)
    draw_score_maps(store, shards[0], count=PICTURED).save(f"{out}/scores.png")
    ranker = PatchRanker.from_pretrained(f"{out}/ranker")
    facts = read_facts(ranker.facts, f"{out}/ranker")
    assert facts is not None, "it was trained here"
    unseen = held_out(store, join_scores(shards, store), facts.split, facts.tars)
    draw_held_out(store, unseen.draw(HELD_OUT, seed=0), ranker).save(f"{out}/ranker.png")
    click.echo(f"""
Made in {out}/:
  shards/                   {scenes} scenes in webdataset tars, with labels, boxes and masks
  mae/                      a masked autoencoder trained on them; reconstructions.png shows what it can do
  scores/                   the semantic density of each patch, a Zarr store; scores.png shows some as maps
  ranker/                   a model that ranks patches without the MAE; ranker.png shows scenes that it has not seen
  *.events.jsonl            what happened when; ranker/tensorboard/ has the training's curves
To prove that nothing is missing: ltrp-pipeline verify {out}/scores
What it sees in your images: ltrp-pipeline show IMAGE --ranker {out}/ranker --mae {out}/mae --out it.png""")
