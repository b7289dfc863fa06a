"""Tars of any members, and commands on them that may fail, but never in a traceback or in codes for a terminal."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from pictures import encoded
from scored_stores import noise_picture

from pipeline.cli import main


def call(*arguments: Any) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    assert result.output.replace("\n", "").isprintable(), result.output
    return result


def rank(shards: Path, ranker: Path, out: str = "out") -> Result:
    options = ["--executor", "in-process", "--precision", "fp32"]
    return call("rank", *options, "--shards", shards, "--ranker", ranker, "--out", out)


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


PICTURE = encoded(noise_picture("a"))
