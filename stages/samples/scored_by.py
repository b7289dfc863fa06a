"""What decides the scores that patches are chosen by, as settings and results note it."""

from __future__ import annotations

from stages.samples.controlled import control_settings
from stages.samples.ranked import StoredRanks
from stages.samples.ranked_now import RankedNow
from storage.patch_store import Settings
from storage.settings import fingerprint


def scored_by(source: StoredRanks | RankedNow) -> Settings:
    if isinstance(source, RankedNow):
        return source.decisive
    return {"scores": fingerprint(source.settings), **control_settings(source.store)}
