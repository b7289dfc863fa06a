"""What strangers wrote is fit for a terminal, and short."""

from __future__ import annotations

import pytest

from storage.text import counted, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat", "cat"),
        ("Kätzchen 猫 😀", "Kätzchen 猫 😀"),
        ("a\u3000b", "a\u3000b"),  # the space of Japanese names
        ("\x1b]0;title\x07\x1b[31mred", r"\x1b]0;title\x07\x1b[31mred"),
        ("one\ntwo\r", r"one\ntwo\r"),
        ("\x9b31m", r"\x9b31m"),  # what ESC [ is in one character
        ("gpj\u202etxt", r"gpj\u202etxt"),
        ("\ud800", r"\ud800"),
        (7, "7"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: object, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\x1b" * 201, "\u202e" * 60, "é" * 200 + "\n"])
def test_long_texts_are_cut_and_their_length_is_told(text: str) -> None:
    told = printable(text)
    assert len(told) <= 200
    assert told.endswith(f"… ({len(text)} characters)")


def test_line_breaks_stay_where_lines_are_wanted() -> None:
    assert printable("a\n\tb", lines=True) == "a\n\\tb"


def test_plurals_agree() -> None:
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
