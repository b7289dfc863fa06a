"""`parquet`: OUT/SHARD.parquet with a row for each patch (stages.exporting.rows)."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.parquet as pq

from stages.exporting.export import Export, format_with
from stages.exporting.rows import schema_of, tables

SUFFIX = ".parquet"


@format_with()
def to_parquet(export: Export) -> Iterator[int]:
    """A file for each shard, each written at once: whatever reads Parquet reads the folder as one table."""
    export.refuse_others({f"{shard}{SUFFIX}" for shard in export.shards}, f"files {SUFFIX}")
    schema, place, through = schema_of(export), export.place, 0
    for shard, values in export.values():
        with place.writer(f"{shard}{SUFFIX}") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in tables(export, shard, values, schema):
                writer.write_table(table)
        through += len(values.key)
        yield through
