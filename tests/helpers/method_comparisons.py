"""`compare-methods` in tests: small data sets in the working directory, and one call of the command on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from ranked_tars import INFO, Change, write_tar

from pipeline.cli import main
from storage.locations import locate
from storage.shard_index import INDEX_NAME, index_bytes

RATIOS = [0.25, 0.5]


def write_data(
    name: str, keys: list[str], change: Change = lambda key, fields: fields, info: dict[str, Any] = INFO
) -> None:
    """A folder of one tar with scenes of these keys, in the working directory."""
    entry = write_tar(Path(name), name, keys, change)
    locate(f"{name}/tars").write(INDEX_NAME, index_bytes("scenes", info, [entry]))


def call(*options: Any, out: str = "out") -> Result:
    words = ["compare-methods", *map(str, options), "--out", out, "--executor", "in-process", "--device", "cpu"]
    return CliRunner().invoke(main, [*words, "--keep-ratio", ",".join(map(str, RATIOS))])


def told(*options: Any, out: str = "out") -> dict[str, Any]:
    """What comparison.json says."""
    result = call(*options, out=out)
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(Path(out, "comparison.json").read_text())
    return content
