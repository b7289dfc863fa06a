"""`ltrp-pipeline rank`"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pipeline.answers import plan_options, tell_plan
from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.methods.inputs import INPUTS
from stages.settings.rank import RankConfig
from storage.shard_index import expand_shards
from storage.text import counted

if TYPE_CHECKING:
    from pipeline.execution.executor import Executor
    from pipeline.shard_run import Outcome

DEFAULT = RankConfig.model_fields["method"].default


@command(
    "rank --shards work/shards --ranker work/ranker --out work/ranks",
    "rank --shards work/shards --method grad-cam --model work/classify/full-seed0 --out work/grad-cam",
)
@config_option
@options_of(RankConfig, ExecutionConfig)
@plan_options
@click.pass_context
def rank(ctx: click.Context, config: str | None, plan: bool, **flags: Any) -> None:
    """Rank every patch of every image, with a trained ranker or by another method.

    Gives each patch a score, higher for what to keep first. Results go to a Zarr store as those of `score` do, shard by
    shard; run the same command again to resume. Exit status 1: a shard failed.
    """
    file = PipelineFile.read(config)
    settings = file.section("rank", with_own_method(file.sections.get("rank", {}), given(flags, RankConfig)))
    execution = file.section("execution", given(flags, ExecutionConfig))
    if plan:
        from pipeline.planning.ranks import plan_ranks

        tell_plan(plan_ranks(settings, execution))
        return
    ctx.exit(run_rank_command(settings, execution))


def with_own_method(section: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """What a section says of its method goes with that alone: nothing of it is left where flags name another."""
    if flags.get("method") in (None, section.get("method", DEFAULT)):
        return flags
    return {**dict.fromkeys(INPUTS), **flags}


def run_rank_command(config: RankConfig, execution: ExecutionConfig) -> int:
    """Ranks what is not ranked yet; returns the exit status."""
    from pipeline.shard_command import executor_when_needed, tell_outcome
    from pipeline.shard_run import absolute

    with executor_when_needed(execution) as executor:
        outcome = rank_shards(config, execution, executor)
    return tell_outcome(outcome, absolute(config.out))


def rank_shards(config: RankConfig, execution: ExecutionConfig, executor: Callable[[], Executor]) -> Outcome:
    """Ranks what is not ranked yet, on an executor that starts when it is needed."""
    from pipeline.shard_command import is_begun, stored_precision
    from pipeline.shard_run import absolute, run_shards
    from stages.methods.load_method import load_method
    from stages.rank import RankStage, rank_settings
    from storage.patch_store import PatchStore
    from storage.ranks import CONTENT

    places = {name: getattr(config, name) for name in ("ranker", "model", "scores", "out")}
    config = config.model_copy(update={name: absolute(path) for name, path in places.items() if path is not None})
    shards = expand_shards(config.shards)
    method = load_method(config.method, config)
    method.check_shards(shards)
    precision, begun = config.precision, is_begun(config.out, CONTENT)
    if not begun:
        executor()  # before there is a store: nothing is left of a run that cannot begin
    if precision == "auto":
        stored = "fp32" if method.width is None else stored_precision(config.out, CONTENT)
        precision = stored or ("fp16" if executor().device() == "cuda" else "fp32")
    store = PatchStore.create_or_open(config.out, CONTENT, rank_settings(config, method, precision))
    name = [] if config.method == DEFAULT else [config.method]
    arithmetic = [] if method.width is None else [precision]
    told = [counted(len(shards), "shard"), *name, method.described, *arithmetic, counted(config.views, "view")]
    click.echo(f"{', '.join(told)} → {config.out}", err=True)
    return run_shards(RankStage(config, precision), store, shards, executor, execution)
