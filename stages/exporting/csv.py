"""`csv`: OUT/SHARD.csv with a row for each patch (stages.exporting.rows) under a header."""

from __future__ import annotations

from collections.abc import Iterator

from pyarrow.csv import CSVWriter

from stages.exporting.export import Export, format_with
from stages.exporting.rows import schema_of, tables

SUFFIX = ".csv"


@format_with()
def to_csv(export: Export) -> Iterator[int]:
    """A file for each shard, each written at once, in UTF-8; what is not known is empty."""
    export.refuse_others({f"{shard}{SUFFIX}" for shard in export.shards}, f"files {SUFFIX}")
    schema, place, through = schema_of(export), export.place, 0
    for shard, values in export.values():
        with place.writer(f"{shard}{SUFFIX}") as file, CSVWriter(file, schema) as writer:
            for table in tables(export, shard, values, schema):
                writer.write_table(table)
        through += len(values.key)
        yield through
