"""What users choose by name: our own, and what other packages add by entry points.

Names are there at once, for help and for the checking of settings; what stands under one is imported when it is asked
for.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Found = TypeVar("Found")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
"""Names become those of folders."""


class Table(Mapping[str, Found]):
    """Names, and the place of what each stands for: MODULE:NAME. In an annotation, the names are what may be chosen."""

    def __init__(self, kind: str, rows: Mapping[str, str], made: Callable[[Any], Found] = lambda found: found) -> None:
        """`made` turns what stands at a place into what the table gives; it raises ValueError, "expected X, got Y", for
        what cannot be that."""
        self.group = f"ltrp_pipeline.{kind}"
        """Of the entry points that add to it."""
        self.rows = dict(rows)
        """Ours."""
        self.made = made
        self._known: dict[str, Found] = {}

    def __getitem__(self, name: str) -> Found:
        """Raises ValueError, which names package and entry point, for what another package adds and does not work."""
        if name not in self._known:
            self._known[name] = self._own(name) if name in self.rows else self._added(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        """Ours in their order, then those of other packages in that of the alphabet."""
        yield from self.rows
        yield from sorted(added_by_others(self.group).keys() - self.rows.keys())

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self.rows or name in added_by_others(self.group)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._one_of, handler(source))

    def _one_of(self, name: str) -> str:
        from pydantic_core import PydanticKnownError

        if name in self.rows:
            return name
        if name in self:
            self[name]  # what does not work is refused before anything begins
            return name
        *others, last = (repr(each) for each in self)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})

    def _own(self, name: str) -> Found:
        for point in added_by_others(self.group).get(name, ()):
            logging.getLogger(__name__).warning(f"{_told(point)}: not used, since {name} is ours")
        module, _, attribute = self.rows[name].partition(":")
        return self.made(getattr(importlib.import_module(module), attribute))

    def _added(self, name: str) -> Found:
        points = added_by_others(self.group)[name]
        if len(points) > 1:
            raise ValueError(f"{name}: expected one entry point of that name, got {' and '.join(map(_told, points))}")
        (point,) = points
        try:
            if not NAME.fullmatch(name):
                raise ValueError(f"expected a name of letters, digits, '-', '_' and '+', got {name!r}")
            return self.made(point.load())
        except Exception as error:  # whatever its code raises
            what = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise ValueError(f"{_told(point)}: {' '.join(what.split())}") from error


@cache
def added_by_others(group: str) -> dict[str, list[EntryPoint]]:
    """By name. Reading what is installed takes milliseconds and imports none of it."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def _told(point: EntryPoint) -> str:
    package = f"package {point.dist.name} {point.dist.version}" if point.dist else "a package without a name"
    return f"{package}, entry point {point.name} = {point.value} of {point.group}"
