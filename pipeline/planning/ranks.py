"""What is left to rank, by one method and by several."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.config import ExecutionConfig
from pipeline.planning.place_of_work import place_of_shards
from pipeline.planning.plan import Part, Plan
from pipeline.runs.rank import chosen_precision
from pipeline.shard_run import stored_settings
from stages.compare_methods import plan_comparison
from stages.compute.flops import flops_of
from stages.images.views import View
from stages.methods.load_method import load_method
from stages.methods.method import Method
from stages.rank import rank_settings
from stages.samples.sample_view import SampleView
from stages.settings.compare_methods import CompareMethodsConfig
from stages.settings.rank import RankConfig
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.ranks import CONTENT
from storage.recognition import refuse_mixing
from storage.shard_index import ShardEntry, expand_shards
from storage.text import counted


def plan_ranks(config: RankConfig, execution: ExecutionConfig) -> Plan:
    """Raises FileNotFoundError or ValueError as `rank` does before it computes anything."""
    return Plan("rank", place_of_shards(execution), (_part("rank", config),))


def plan_method_ranks(config: CompareMethodsConfig, execution: ExecutionConfig) -> Plan:
    """Of each method on each data set. Raises as `stages.compare_methods.plan_comparison`, and as `rank` does before it
    computes anything."""
    refuse_mixing(locate(config.out))
    found = plan_comparison(config)
    runs = [(run, data) for line in found.lines for data in found.data for run in line.runs]
    parts = [_part(f"{run.folder} on {data.name}", run.rank_config(config, data)) for run, data in runs]
    notes = ["what the kept patches cover is measured afterwards, on one core, whether or not it was measured before"]
    for data, judges in found.judges.items():
        times = 1 + sum(len(line.runs) for line in found.lines) * len(found.kept)  # once with all patches
        told = f"{counted(times, 'time')} by each of {counted(len(judges.models), 'model')} of {judges.task}"
        notes.append(f"so is how well models do: the images of {data.name} are judged {told}, in this process")
    return Plan("compare-methods", place_of_shards(execution), tuple(parts), tuple(notes))


def _part(name: str, config: RankConfig) -> Part:
    shards = expand_shards(config.shards)
    method = load_method(config.method, config)
    method.check_shards(shards)
    stored = stored_settings(config.out, CONTENT)
    done = set[str]()
    if stored is not None:
        settings = rank_settings(config, method, chosen_precision(config, method, stored))
        done = PatchStore.open(config.out, CONTENT, settings).books.check_for(shards)
    todo = [shard.nsamples for shard in shards if shard.name not in done]
    return Part(
        name=name,
        out=config.out,
        unit="shards",
        total=len(shards),
        done=len(shards) - len(todo),
        samples=None if None in todo else sum(size or 0 for size in todo),
        sample_flops=None if method.width is None else config.views * _view_flops(method, shards),
    )


def _view_flops(method: Method, shards: Sequence[ShardEntry]) -> float:
    """Of one view, for which a grey one stands."""
    size = method.grid.image_size
    view = SampleView(shards[0].name, "planned", 0, View(0, 0, size, size))
    image = torch.full((1, 3, size, size), 128, dtype=torch.uint8)
    return flops_of(lambda: method.score(image, [view]))
