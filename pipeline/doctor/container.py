"""What a container or batch system grants this process, which may be less than the machine has."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60
"""Bytes; the first version of control groups writes such numbers where there is no limit."""


def granted_cores(root: Path = _ROOT) -> float | None:
    """Of the control group; None without a limit."""
    quota, period = [*_words(root / "cpu.max"), "", ""][:2]
    if not quota:
        quota = "".join(_words(root / "cpu/cpu.cfs_quota_us"))
        period = "".join(_words(root / "cpu/cpu.cfs_period_us"))
    if quota.isdecimal() and period.isdecimal() and int(period):
        return int(quota) / int(period)
    return None


def granted_bytes(root: Path = _ROOT) -> int | None:
    """Of memory, by the control group; None without a limit."""
    words = _words(root / "memory.max") or _words(root / "memory/memory.limit_in_bytes")
    limit = int(words[0]) if words and words[0].isdecimal() else None
    return limit if limit is not None and limit < _UNLIMITED else None


def used_bytes(root: Path = _ROOT) -> int:
    """Of memory, in the control group; without what the kernel gives back when it is asked for."""
    words = _words(root / "memory.current") or _words(root / "memory/memory.usage_in_bytes")
    statistics = _words(root / "memory.stat") or _words(root / "memory/memory.stat")
    named = dict(zip(statistics[::2], statistics[1::2], strict=False))
    used = int(words[0]) if words and words[0].isdecimal() else 0
    return max(0, used - int(named.get("inactive_file", 0)))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
