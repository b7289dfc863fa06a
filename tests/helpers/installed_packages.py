"""Packages as pip leaves them: importable, with the entry points that their metadata has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from stages import plug_ins


def install(folder: Path, name: str, code: str, points: Mapping[str, Sequence[str]]) -> None:
    """NAME 1.0 with a module of its name; `points`: group → lines such as "corners = lent:corners"."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    sections = [f"[{group}]\n" + "".join(f"{line}\n" for line in lines) for group, lines in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(sections), encoding="utf-8")


def see(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed there, in this process."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(plug_ins, "added_by_others", plug_ins.added_by_others.__wrapped__)
