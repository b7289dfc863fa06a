"""A row for each patch: the table that Parquet and CSV files hold.

| column | type | meaning |
| --- | --- | --- |
| shard, key | string | the tar, without its ending, and the sample in it |
| view | int16 | 0 is the evaluation crop |
| patch, row, column | int32, int16, int16 | in raster order of the view as the model saw it |
| mean | float32 | the score; of several masks their mean; null where no mask showed the patch |
| spread | float32 | standard deviation of the sample over the masks; null below two, and in ranks |
| count | int32 | how many numbers the mean is of |
| rank | int32 | 0 for the patch that is kept first |
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from stages.exporting.export import Export
from storage.patch_values import PatchValues

ROWS_AT_ONCE = 2**18


def schema_of(export: Export) -> pa.Schema:
    """The columns; as its metadata `ltrp_pipeline`, what the store holds and the settings that made it, as JSON."""
    types = {
        "shard": pa.string(),
        "key": pa.string(),
        "view": pa.int16(),
        "patch": pa.int32(),
        "row": pa.int16(),
        "column": pa.int16(),
        "mean": pa.float32(),
        "spread": pa.float32(),
        "count": pa.int32(),
        "rank": pa.int32(),
    }
    store = {"content": export.store.content, "settings": export.store.settings}
    return pa.schema(list(types.items()), metadata={"ltrp_pipeline": json.dumps(store)})


def tables(export: Export, shard: str, values: PatchValues, schema: pa.Schema) -> Iterator[pa.Table]:
    """All rows of a shard, of whole images at a time; none of a shard without images."""
    n, views, patches = values.mean.shape
    images = max(1, ROWS_AT_ONCE // (views * patches))
    for start in range(0, n, images):
        part = slice(start, start + images)
        mean, spread = (each[part].ravel() for each in (values.mean, values.spread))
        rows = len(mean)
        patch = np.tile(np.arange(patches), rows // patches)
        columns = {
            "shard": pa.repeat(shard, rows),
            "key": np.repeat(values.key[part].astype(object), views * patches),
            "view": np.tile(np.repeat(np.arange(views), patches), rows // (views * patches)),
            "patch": patch,
            "row": patch // export.grid.side,
            "column": patch % export.grid.side,
            "mean": pa.array(mean, mask=np.isnan(mean)),
            "spread": pa.array(spread, mask=np.isnan(spread)),
            "count": values.count[part].ravel(),
            "rank": values.rank[part].ravel(),
        }
        yield pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)
