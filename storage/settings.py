"""Settings that decide what is in a store or a model: compared in one way, and refused in one form.

What was made with some settings is gone on with under the same alone: values made with different ones do not mix.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from storage.text import printable

Settings = dict[str, Any]
"""JSON values under dotted names."""

ABSENT = "nothing"


def fingerprint(settings: Settings) -> str:
    """SHA-256 of the settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def list_differences(stored: Settings, asked: Settings, holder: str = "store") -> list[str]:
    """One line for each setting that differs: "views: 1 in the store, 4 now". As JSON they are compared: a tuple is the
    list that it is read again as."""
    return [
        f"{printable(name)}: {_told(stored, name)} in the {holder}, {_told(asked, name)} now"
        for name in sorted(stored.keys() | asked.keys())
        if _json(stored.get(name)) != _json(asked.get(name))  # None is what a setting is that was added later
    ]


def refuse_differences(
    url: str, stored: Settings, asked: Settings, *, what: str, advice: str, holder: str = "store"
) -> None:
    """Raises ValueError listing each setting that differs.

    `what`: the sentence about `url` that the list follows ("was made with other settings"); `advice`: the one after it;
    `holder`: what the stored ones are in.
    """
    if differences := list_differences(stored, asked, holder):
        listed = "\n".join(f"  {line}" for line in differences)
        raise ValueError(f"{url}: {what}. What differs:\n{listed}\n{advice}")


def whole_number(settings: Settings, name: str, url: str) -> int:
    """The setting `name`, of which everything that reads the store makes sizes. Raises ValueError naming `url` if it is
    no whole number of 1 or more."""
    value = settings.get(name)
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"{url}: setting {name}: expected a whole number of 1 or more, got {_told(settings, name)}")
    return value


def _told(settings: Settings, name: str) -> str:
    return printable(repr(settings[name]), 80) if name in settings else ABSENT


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value))
