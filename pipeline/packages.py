"""Whether our packages are our own. Such names are taken on PyPI, and pip puts one distribution's files in the
place of another's without a word."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterable
from pathlib import Path

DISTRIBUTION = "ltrp-pipeline"
PACKAGES = ("ltrp", "pipeline", "stages", "ranker", "storage")
MARK = '__distribution__ = "ltrp-pipeline"'
"""Stands in the `__init__.py` of each."""


def refuse_others_packages() -> None:
    """Raises ValueError when one of `PACKAGES` is not what lies beside this file, or no longer ours. Takes less than a
    millisecond: reads four small files and imports nothing."""
    home = Path(__file__).parent.parent
    for name in PACKAGES:
        ours = home / name / "__init__.py"
        try:
            found = importlib.util.find_spec(name)
            is_ours = found is not None and found.origin == str(ours) and MARK in ours.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError):
            is_ours = False
        if not is_ours:
            raise ValueError(_explained(name, home, found.origin if found else None))


def _explained(name: str, home: Path, origin: str | None) -> str:
    expected = f"package {name}: expected that of {DISTRIBUTION} in {home}"
    others = _others(name)
    if others:
        installed = " and ".join(f"{other} {importlib.metadata.version(other)}" for other in others)
        mend = f"pip uninstall {' '.join(others)}; pip install --force-reinstall --no-deps {DISTRIBUTION}"
        return f"{expected}, got that of {installed}, which is installed too: {mend}"
    if origin and origin != str(home / name / "__init__.py"):
        return f"{expected}, got {origin}: start elsewhere, or take it off PYTHONPATH"
    return f"{expected}, got other files there: pip install --force-reinstall --no-deps {DISTRIBUTION}"


def _others(name: str) -> Iterable[str]:
    """The distributions that have such a package, but for ours."""
    found = importlib.metadata.packages_distributions().get(name, [])
    return sorted({other for other in found if other != DISTRIBUTION})
