"""What stores there are: one row for each kind, for whoever deals with all of them alike."""

from __future__ import annotations

import dataclasses

from storage import ranks, scores
from storage.patch_store import PatchStore
from storage.verification import CheckArrays


@dataclasses.dataclass(frozen=True)
class Content:
    """One kind of store."""

    command: str
    """Makes it, and repairs it."""
    participle: str
    """What was done to a sample that is in it."""
    check: CheckArrays


CONTENTS = {
    scores.CONTENT: Content("score", "scored", scores.check_scores),
    ranks.CONTENT: Content("rank", "ranked", ranks.check_ranks),
}


def open_any(path: str) -> tuple[PatchStore, Content]:
    """A store of any kind. Raises FileNotFoundError when there is none, ValueError when it is something else."""
    store = PatchStore.open(path, CONTENTS)
    return store, CONTENTS[store.content]
