"""`ltrp-pipeline compare-methods`"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click

from pipeline.answers import answer, plan_and_json_options, tell_plan
from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.compare_methods import CompareMethodsConfig
from storage.locations import locate
from storage.recognition import refuse_mixing

if TYPE_CHECKING:
    from pipeline.progress.display import Display
    from stages.comparison.judging import JudgedRuns
    from stages.settings.compare_methods import NamedData

TABLE_FILE, PLOT = "methods.md", "methods"


@command(
    "compare-methods --data val=work/val --method ltrp=work/ranker --method random --method centre --out work/methods",
    "compare-methods --data a=work/a --data b=work/b --method grad-cam=work/plain/full-seed0 --method contrast "
    "--out work/methods",
)
@config_option
@options_of(CompareMethodsConfig, ExecutionConfig)
@plan_and_json_options
@click.pass_context
def compare_methods(ctx: click.Context, config: str | None, plan: bool, **flags: Any) -> None:
    """Say how much of each category the patches of different methods cover.

    Ranks each data set by each method, as `rank` does, and measures what the best patches show of its masks or boxes:
    of all classes, of those that a method's model was trained on, and of the others. With `--judge` also how well
    models of a task do that see nothing else. Run again to go on: what is ranked is not ranked again.
    """
    file = PipelineFile.read(config)
    settings = file.section("compare_methods", given(flags, CompareMethodsConfig))
    execution = file.section("execution", given(flags, ExecutionConfig))
    if plan:
        from pipeline.planning.ranks import plan_method_ranks

        tell_plan(plan_method_ranks(settings, execution))
        return
    ctx.exit(run_compare_methods_command(settings, execution))


def run_compare_methods_command(config: CompareMethodsConfig, execution: ExecutionConfig) -> int:
    """Ranks what is not ranked yet, measures all of it; returns the exit status."""
    from pipeline.progress.display import Display
    from pipeline.progress.watch import Watch
    from pipeline.runs.compare import FIGURES_FILE
    from pipeline.runs.rank import rank_shards
    from pipeline.shard_command import tell_outcome
    from pipeline.shard_run import executor_when_needed
    from stages.compare_methods import judge_line, measure_line, plan_comparison
    from stages.comparison.judging import gather_judged
    from stages.comparison.method_coverage import gather
    from stages.comparison.method_judgement import ALL_PATCHES
    from stages.comparison.method_plot import draw_methods
    from stages.comparison.method_table import method_table
    from stages.plots.files import write_plot

    place = locate(config.out)
    refuse_mixing(place)
    plan = plan_comparison(config)
    # Judges compute in this process, which may have no GPU where actors have.
    device: Literal["auto", "cpu"] = "cpu" if execution.device == "cpu" else "auto"
    found, told = {}, set[str]()
    judged: dict[NamedData, dict[str, JudgedRuns]] = {}

    def tell(note: str) -> None:
        """Of a data set each method would be told the same."""
        if note not in told:
            told.add(note)
            click.echo(note, err=True)

    with executor_when_needed(execution) as executor:
        # Data sets inside, so that what is wrong with one shows after the first method.
        for line in plan.lines:
            for data in plan.data:
                for run in line.runs:
                    ranking = run.rank_config(config, data)
                    outcome = rank_shards(ranking, execution, executor, Watch())
                    if outcome.failures or outcome.is_empty:
                        return tell_outcome(outcome, ranking.out)
                with Display(f"{line.name}, {data.name}", "images") as display:
                    found[line.name, data.name] = measure_line(
                        plan,
                        line,
                        data,
                        partial(_show, display),
                        tell,
                    )
                if data in plan.judges:
                    own, figures = judged.setdefault(data, {}), found[line.name, data.name]
                    for kept in [line] if own else [None, line]:  # all patches once
                        name = kept.name if kept else ALL_PATCHES
                        with Display(f"{name}, {data.name}, judged", "images") as display:
                            own[name] = judge_line(plan, kept, data, figures, device, partial(_show, display), tell)
    judgements = [gather_judged(data, plan.judges[data], own) for data, own in judged.items()]
    compared = gather(plan.kept, [line.facts() for line in plan.lines], found, judgements)
    heading, *rest = method_table(compared)
    document = [heading, "", f"![coverage of each method]({PLOT}.png)", *rest]
    place.write(TABLE_FILE, ("\n".join(document) + "\n").encode())
    settings = config.model_dump(exclude=None if config.judge else {"judge"})  # the same files as without the setting
    plots = write_plot(place, PLOT, draw_methods(compared), settings)
    place.write(FIGURES_FILE, (json.dumps(dataclasses.asdict(compared), indent=1) + "\n").encode())
    files = f"Written: {place.url}/{TABLE_FILE}, {PLOT}.png, .svg and .pdf, and {FIGURES_FILE}"
    written = [f"{place.url}/{TABLE_FILE}", *plots, f"{place.url}/{FIGURES_FILE}"]
    answer(compared, [heading, *rest, "", files], written=written)
    return 0


def _show(display: Display, through: int, total: int) -> None:
    display.show(through, total, last=through == total)
