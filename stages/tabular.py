"""What came of a stage, for people: lines of Markdown, and rows that pandas takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


class Tabular:
    """Prints as its lines, in a notebook as Markdown. For dataclasses with `repr=False`."""

    def lines(self) -> list[str]:
        """What it says, in Markdown."""
        raise NotImplementedError

    def rows(self) -> Sequence[dict[str, Any]]:
        """Its figures, a row each."""
        raise NotImplementedError

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a table."""
        import pandas

        return pandas.DataFrame(list(self.rows()))

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    __str__ = __repr__  # where another base has its own

    def _repr_markdown_(self) -> str:
        return "\n".join(f"{line}  " if line and not line.startswith("|") else line for line in self.lines())
