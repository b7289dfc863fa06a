"""What the error bars of a plot mean, in words for its legend."""

from __future__ import annotations

from collections.abc import Iterable

from stages.comparison.comparison import Spread

OVER_IMAGES = "95% intervals over images"


def meaning_of(spreads: Iterable[Spread | None], runs: str = "seeds") -> str | None:
    """None where no spread is known; `runs`: what they are over where it is not images."""
    known = [spread for spread in spreads if spread]
    if any(spread.interval for spread in known):
        return OVER_IMAGES
    counts = sorted({spread.n for spread in known if spread.std is not None})
    return f"± standard deviation over {' or '.join(map(str, counts))} {runs}" if counts else None
