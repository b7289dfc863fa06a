"""What decides the scores that patches are chosen by, as settings and results note it."""

from __future__ import annotations

from stages.samples.controlled import control_settings
from stages.samples.ranked import StoredRanks
from stages.samples.ranked_now import RankedNow
from storage.patch_store import Settings
from storage.settings import fingerprint


def scored_by(source: StoredRanks | RankedNow) -> Settings:
    """All of it, the views' own settings among them."""
    if isinstance(source, RankedNow):
        return source.decisive
    return {"scores": fingerprint(source.settings), **control_settings(source.store)}


def scorer(source: StoredRanks | RankedNow) -> Settings:
    """What made them, whichever views it saw: the checksums of its weights, its method's name, the selector that
    another program says. So a store for training has the same as one to judge on, and as the ranker of both."""
    named = {
        name: value
        for name, value in source.settings.items()
        if name in ("method.name", "selector") or name.endswith(".weights")
    }
    if isinstance(source, StoredRanks) and "control" in (control := control_settings(source.store)):
        named["control"] = control["control"]
    return named
