"""What a command would do, how much of it is done, what the rest takes and where it runs: told before anything is
computed, in one form for all commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from pipeline.planning.place_of_work import PlaceOfWork
from pipeline.progress.display import duration
from storage.text import counted, printable

TO_DO = {"shard": "pack", "score": "score", "rank": "rank", "compare-methods": "rank"}
"""With samples, by command; the others train."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One model, store or folder of tars; None is what is not known, or is not asked of such a part."""

    name: str
    out: str
    unit: Literal["shards", "tars", "steps"]
    total: int
    """Of these units."""
    done: int
    samples: int | None
    """To be gone through still: a training goes through each once an epoch. None where no index tells."""
    sample_flops: float | None = None
    """Floating-point operations for each; of a training forward and backward."""
    sample_bytes: float | None = None
    """That the store takes for each."""
    masks: int | None = None
    """For each, over all views."""
    samples_per_second: float | None = None
    rate_source: str | None = None
    """Where that rate is from."""

    @property
    def flops(self) -> float | None:
        """Of all that is to be done."""
        return None if None in (self.samples, self.sample_flops) else (self.samples or 0) * (self.sample_flops or 0.0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a command would do."""

    command: str
    place: PlaceOfWork
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    """What a reader of the figures has to know."""

    def lines(self) -> Iterator[str]:
        """For people."""
        if len(self.parts) == 1:
            yield from _told(self.parts[0], TO_DO.get(self.command, "train on, one for each time that it is seen"))
        else:
            yield from _table(self.parts)
            flops = [part.flops for part in self.parts]
            if None not in flops:
                yield f"compute      {si(sum(each or 0.0 for each in flops))}FLOP in all"
        yield f"runs         {self.place}"
        yield from (f"note         {note}" for note in self.notes)


def _told(part: Part, to_do: str) -> Iterator[str]:
    label = f"{part.unit:<13}"
    yield f"{label}{part.total}, of which {part.done} done and {part.total - part.done} to do"
    yield f"samples      {'unknown: no index tells' if part.samples is None else f'{part.samples} to {to_do}'}"
    if part.masks is not None:
        yield f"masks        {part.masks} for each sample"
    for name, unit, of_one in (("compute", "FLOP", part.sample_flops), ("store", "B", part.sample_bytes)):
        if of_one is not None:
            one = f"{of_one:.0f} bytes" if unit == "B" else f"{si(of_one)}{unit}"
            in_all = "" if part.samples is None else f", {si(of_one * part.samples)}{unit} in all"
            yield f"{name:<13}{one} for each sample{in_all}"
    if part.samples_per_second is not None:
        yield f"rate         {part.samples_per_second:.3g} samples/s ({part.rate_source})"
        if part.samples is not None:
            yield f"time         {duration(part.samples / part.samples_per_second)}"
    yield f"goes to      {printable(part.out, 2000)}"


def _table(parts: tuple[Part, ...]) -> Iterator[str]:
    width = max(len(part.name) for part in parts)
    for part in parts:
        samples = "samples unknown" if part.samples is None else f"{counted(part.samples, 'sample')} to go"
        flops = "" if part.flops is None else f", {si(part.flops)}FLOP"
        yield f"{part.name:<{width}}  {part.done} of {part.total} {part.unit} done, {samples}{flops} → {part.out}"


def si(value: float) -> str:
    """Three digits and a prefix, "1.5 G", to be followed by a unit."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 1000:
            return f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:.3g} E"
