"""`ltrp-pipeline demo`"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import cloup

from pipeline.commands.run import run_stages
from pipeline.config import PipelineFile
from pipeline.help import command
from pipeline.hints import as_argument, command_line
from pipeline.options import Out
from stages.settings.choices import DEFAULT_MAE, DEFAULT_RANKER
from stages.settings.show import ShowConfig
from storage.shard_index import expand_shards

PHOTOGRAPH = "grace_hopper.jpg"
"""One that matplotlib ships: of the United States Navy, in the public domain."""
PHOTOGRAPHS = "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"
"""Some that scikit-image ships: of NASA, S. van der Walt, R. Michetti and SpaceX, in the public domain or CC0."""
PICTURED = 12
HELD_OUT = 10
TASKS = "classify", "segment", "detect"
TASK_SCENES = {
    "scene_objects": 1,
    "scene_textures": "own",
    "scene_shapes": ["disc", "ring", "crescent", "square"],
    "scene_size": 64,
}
"""What a small model can learn in minutes: one large object, whose texture tells its shape."""
TASK_RECIPE = {"init": DEFAULT_MAE, "epochs": 10, "warmup_epochs": 1}
METHODS = "ltrp", "gradient"
"""Whose best patches models see, beside random ones."""
VIEWS = {"views": 4, "view_scale": 0.5}
IN_PROCESS = {"executor": "in-process"}
"""A few hundred scenes take less time than starting Ray."""


@command(
    "demo",
    "demo --out somewhere --scenes 200 --tasks",
)
@cloup.option(
    "--out", type=Out("folder"), default="ltrp-demo", show_default=True, help="Folder that everything goes to."
)
@cloup.option("--scenes", default=400, show_default=True, help="Built-in scenes to draw.")
@cloup.option("--steps", default=400, show_default=True, help="Steps of MAE training.")
@cloup.option("--tasks/--no-tasks", default=False, help="Train downstream tasks too: about an hour more.")
@cloup.option("--task-scenes", default=2000, show_default=True, help="Built-in scenes to train these on.")
@click.pass_context
def demo(ctx: click.Context, out: str, scenes: int, steps: int, tasks: bool, task_scenes: int) -> None:
    """Run everything on built-in scenes: no data, no download, minutes on two cores.

    Shows photographs as the included ranker sees them. Draws scenes, trains a small MAE on them, scores their
    patches, trains a ranker on the scores, says how much of other scenes' objects its best patches cover, and makes a
    page about all of that. Run again to go on, or to see that nothing is left.
    """
    from pipeline.runs.compare import run_compare
    from ranker import PatchRanker
    from stages.ranking.facts import read_facts
    from stages.ranking.score_maps import draw_held_out, draw_score_maps
    from stages.run_report import make_report
    from stages.samples.scored import held_out, join_scores
    from stages.settings.report import ReportConfig
    from stages.show import run_show
    from storage.locations import locate
    from storage.patch_store import PatchStore
    from storage.scores import CONTENT

    shown = ShowConfig(images=_photographs(), ranker=[DEFAULT_RANKER], out=f"{out}/photographs.png")
    run_show(shown, lambda line: click.echo(line, err=True))
    click.echo(f"{out}/photographs.png: what {DEFAULT_RANKER}, the included ranker, sees in photographs", err=True)
    files = [_ranker_file(out, scenes, steps), _coverage_file(out, scenes)]
    if tasks:
        files += _task_files(out, task_scenes)
    for file in files:
        if status := run_stages(file):
            ctx.exit(status)
    if tasks:
        for task in TASKS:
            run_compare([f"{out}/{task}/{method}" for method in METHODS], f"{out}/{task}")
    shards = expand_shards([f"{out}/shards"])
    store = PatchStore.open(f"{out}/scores", CONTENT)
    draw_score_maps(store, shards[0], count=PICTURED).save(f"{out}/scores.png")
    ranker = PatchRanker.from_pretrained(f"{out}/ranker")
    facts = read_facts(ranker.facts, f"{out}/ranker")
    assert facts is not None, "it was trained here"
    unseen = held_out(store, join_scores(shards, store), facts.split, facts.tars)
    draw_held_out(store, unseen.draw(HELD_OUT, seed=0), ranker).save(f"{out}/ranker.png")
    page = make_report(ReportConfig(work=out, out=f"{out}/report.html"), lambda through, total: None)
    locate(out).write("report.html", page)
    show = command_line("show", "IMAGE", "--ranker", f"{out}/ranker", "--mae", f"{out}/mae", "--out", "it.png")
    click.echo(f"""
Made in {out}/:
  photographs.png           photographs, as the included ranker {DEFAULT_RANKER} sees them
  report.html               all of the following on one page, to open in a browser
  shards/                   {scenes} scenes in webdataset tars, with labels, boxes and masks
  mae/                      a masked autoencoder trained on them; reconstructions.png shows what it can do
  scores/                   the semantic density of each patch, a Zarr store; scores.png shows some as maps
  ranker/                   a model that ranks patches without the MAE; ranker.png shows scenes that it has not seen
  unseen/                   other scenes, and the ranker's score of each of their patches
  coverage/                 how much of their objects the best patches show: coverage.md and coverage.png
  events.jsonl              in each of these folders: what happened when; ranker/tensorboard/ has the training's curves
To prove that nothing is missing: {command_line("verify", as_argument(f"{out}/scores"))}
What it sees in your images: {show}
What {DEFAULT_RANKER} sees in them: {command_line("show", "IMAGE")}""")
    if tasks:
        tables = ", ".join(f"{task}/{task}.md" for task in TASKS)
        click.echo(f"What tasks can do with a quarter of the patches, by three ways of choosing: in {out}/, {tables}")
    else:
        again = command_line("demo", "--out", out, "--tasks")
        click.echo(f"What downstream tasks can do with the best patches: {again}")


def _photographs() -> list[str]:
    """Those that libraries bring along: matplotlib's, and scikit-image's where it is installed."""
    from matplotlib.cbook import get_sample_data

    found = [str(get_sample_data(PHOTOGRAPH, asfileobj=False))]
    if (library := find_spec("skimage")) and library.origin:
        found += map(str, filter(Path.is_file, (Path(library.origin).with_name("data") / name for name in PHOTOGRAPHS)))
    return found


def _ranker_file(out: str, scenes: int, steps: int) -> PipelineFile:
    short = {"epochs": 10, "warmup_epochs": 1, "batch_size": 32}
    training = {"steps": steps, "min_scale": 0.5, "warmup_steps": min(50, steps)}
    return PipelineFile(
        "the demo",
        {
            "shard": {"scenes": scenes, "shard_size": 50, "out": f"{out}/shards"},
            "pretrain_mae": {"shards": [f"{out}/shards"], "out": f"{out}/mae", **training},
            "score": {"shards": [f"{out}/shards"], "mae": f"{out}/mae", "out": f"{out}/scores"},
            "train_ranker": {"shards": [f"{out}/shards"], "scores": f"{out}/scores", "out": f"{out}/ranker", **short},
        },
    )


def _coverage_file(out: str, scenes: int) -> PipelineFile:
    """As many scenes of another seed; their background is no category."""
    shards, ranks = [f"{out}/unseen/shards"], f"{out}/unseen/ranks"
    return PipelineFile(
        "the demo's other scenes",
        {
            "shard": {"scenes": scenes, "seed": 1, "out": shards[0]},
            "rank": {"shards": shards, "ranker": f"{out}/ranker", "out": ranks},
            "coverage": {"shards": shards, "ranks": ranks, "out": f"{out}/coverage", "ignore_classes": [0]},
            "execution": IN_PROCESS,
        },
    )


def _task_files(out: str, scenes: int) -> Iterator[PipelineFile]:
    """Scenes to train on, in several views, and others to judge by; each ranked by each method; then each task."""
    train, unseen = f"{out}/task", f"{out}/task/unseen"
    for place, drawn, views in (
        (train, {"scenes": scenes, "seed": 2}, VIEWS),
        (unseen, {"scenes": 400, "seed": 3}, {}),
    ):
        scenes_file = {"shard": {"out": f"{place}/shards", **drawn, **TASK_SCENES}}
        yield PipelineFile("the demo's scenes for tasks", scenes_file)
        for method in METHODS:
            how = {"ranker": f"{out}/ranker"} if method == "ltrp" else {"image_size": 64, "patch_size": 8}
            rank = {"shards": [f"{place}/shards"], "out": f"{place}/{method}", "method": method, **how, **views}
            yield PipelineFile(f"the demo's patches by {method}", {"rank": rank, "execution": IN_PROCESS})
    for task in TASKS:
        for method in METHODS:
            training = {
                "task": task,
                "shards": [f"{train}/shards"],
                "ranks": f"{train}/{method}",
                "eval_shards": [f"{unseen}/shards"],
                "eval_ranks": f"{unseen}/{method}",
                "out": f"{out}/{task}/{method}",
                "select": ["topk", "random", "full"] if method == "ltrp" else ["topk"],
                "keep_ratio": [0.25],
                **TASK_RECIPE,
            }
            yield PipelineFile(f"the demo's {task} by {method}", {"train_task": training})
