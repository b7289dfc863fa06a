"""`export-scores`: a store of scores or of ranks in a format that others read."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from typing import Any

from stages.exporting.export import Export
from stages.settings.export_scores import KEEP_RATIO, ExportScoresConfig
from stages.tables import FORMATS
from stages.tabular import Tabular
from storage.dense_scores import open_dense
from storage.text import counted


@dataclasses.dataclass(frozen=True, repr=False)
class ExportSummary(Tabular):
    """What was written."""

    store: str
    out: str
    images: int
    shards: int
    not_done: int
    """Shards that the store is to hold and does not: they are not in the export."""

    def lines(self) -> list[str]:
        lines = [f"{self.out}: {counted(self.images, 'image')} of {counted(self.shards, 'shard')}"]
        if self.not_done:
            are = "shard of the store is" if self.not_done == 1 else "shards of the store are"
            lines.append(
                f"{self.not_done} {are} not done, and not in it; see: ltrp-pipeline status {shlex.quote(self.store)}"
            )
        return lines

    def rows(self) -> list[dict[str, Any]]:
        """The one row of this export."""
        return [dataclasses.asdict(self)]


def export_scores(
    config: ExportScoresConfig, through: Callable[[int, int | None], None] = lambda *_: None
) -> ExportSummary:
    """Writes what is done. `through` hears of how many images of how many.

    Raises FileNotFoundError when there is no store, ValueError when nothing in it is done, for a format that is not
    known, for a setting that the format does not heed, when something else lies at `out`, and naming the file that is
    not as it was recorded.
    """
    if config.to not in FORMATS:
        raise ValueError(f"to: expected one of {', '.join(FORMATS)}, got {config.to!r}")
    write = FORMATS[config.to]
    config.refuse_unheeded(write.heeds)
    store = open_dense(config.store)
    done = store.books.done()
    if not done:
        raise ValueError(f"{config.store}: expected a store with a shard that is done, got none")
    missing = {entry.name for entry in store.books.shards()} - done
    total = sum(record.scored for record in store.books.records(done))
    written = 0
    ratio = KEEP_RATIO if config.keep_ratio is None else config.keep_ratio
    for written in write(Export(store, sorted(done), config.out, ratio, config.shards)):
        through(written, total)
    if written != total:
        raise ValueError(f"{config.out}: expected {counted(total, 'image')} by the store's records, wrote {written}")
    return ExportSummary(config.store, config.out, written, len(done), len(missing))
