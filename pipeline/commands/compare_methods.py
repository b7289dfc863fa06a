"""`ltrp-pipeline compare-methods`"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pipeline.answers import answer, plan_and_json_options, tell_plan
from pipeline.config import ExecutionConfig, PipelineFile, config_option
from pipeline.help import command
from pipeline.options import given, options_of
from stages.settings.compare_methods import CompareMethodsConfig
from storage.locations import locate

if TYPE_CHECKING:
    from pipeline.progress.display import Display

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
    of all classes, of those that a method's model was trained on, and of the others. Run again to go on: what is ranked
    is not ranked again.
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
    from stages.compare_methods import measure_line, plan_comparison
    from stages.comparison.method_coverage import gather
    from stages.comparison.method_plot import draw_methods
    from stages.comparison.method_table import method_table
    from stages.plots.files import write_plot

    plan = plan_comparison(config)
    found, told = {}, set[str]()

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
    compared = gather(plan.kept, [line.facts() for line in plan.lines], found)
    place, (heading, *rest) = locate(config.out), method_table(compared)
    document = [heading, "", f"![coverage of each method]({PLOT}.png)", *rest]
    place.write(TABLE_FILE, ("\n".join(document) + "\n").encode())
    plots = write_plot(place, PLOT, draw_methods(compared), config.model_dump())
    place.write(FIGURES_FILE, (json.dumps(dataclasses.asdict(compared), indent=1) + "\n").encode())
    files = f"Written: {place.url}/{TABLE_FILE}, {PLOT}.png, .svg and .pdf, and {FIGURES_FILE}"
    written = [f"{place.url}/{TABLE_FILE}", *plots, f"{place.url}/{FIGURES_FILE}"]
    answer(compared, [heading, *rest, "", files], written=written)
    return 0


def _show(display: Display, through: int, total: int) -> None:
    display.show(through, total, last=through == total)
