"""Text from files that others wrote, made fit for terminals, logs and records."""

from __future__ import annotations

import unicodedata

MOST = 200


def printable(text: object, most: int = MOST, *, lines: bool = False) -> str:
    """`text` in at most `most` characters, what a terminal would obey or a reader not see written as in Python's
    strings: "\\x1b", "\\u202e". With `lines`, line breaks stay.

    Keys, names of fields, files and classes, values of JSON and the words of decoders reach people through this.
    """
    whole = str(text)
    escaped = "".join(_escaped(character, lines) for character in whole[: most + 1])
    if len(whole) <= most and len(escaped) <= most:
        return escaped
    told = f"… ({len(whole)} characters)"
    return escaped[: max(0, most - len(told))] + told


def counted(number: int, what: str, plural: str | None = None) -> str:
    """ "1 image", "2 images"; "2 classes" where the plural is given."""
    return f"{number} {what}" if number == 1 else f"{number} {plural or f'{what}s'}"


def _escaped(character: str, lines: bool) -> str:
    if character.isprintable() or (lines and character == "\n") or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
