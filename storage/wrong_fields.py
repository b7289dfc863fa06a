"""What pydantic finds wrong, in our words: where, what was expected, what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from storage.text import counted

MOST_SHOWN = 40  # characters of a value
BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def wrong_fields(error: ValidationError) -> list[str]:
    """A line for each: "objects.0.bbox.2: expected at least 0, got -10.0"."""
    return [_line(dict(each)) for each in error.errors(include_url=False)]


def first_wrong_field(error: ValidationError) -> str:
    """The first line of `wrong_fields`."""
    return wrong_fields(error)[0]


def shown(value: Any) -> str:
    """A value from a file, on one line and not longer than a few words."""
    text = ascii(value[:MOST_SHOWN] if isinstance(value, str | bytes | list | tuple) else value)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def _line(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "the whole"
    return f"{where}: {expectation(error)}"


def expectation(error: Mapping[str, Any]) -> str:
    """Of one of pydantic's errors with its context: "expected at least 0, got -10.0"."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "expected a value, got none"
    if kind == "json_invalid":
        return f"expected JSON, got something else: {context['error']}"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("too_short", "too_long"):
        sign, number = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"expected {sign} {counted(context[number], 'item')}, got {context['actual_length']}"
    if kind == "string_too_short":
        least = "some text" if context["min_length"] == 1 else f"at least {context['min_length']} characters"
        return f"expected {least}, got {shown(error['input'])}"
    expected = error["msg"].removeprefix("Input should be ")
    if kind == "string_pattern_mismatch":
        expected = f"text that matches {context['pattern']}"
    elif kind == "model_type":
        expected = "an object"
    elif kind in BOUNDS:
        sign, bound = BOUNDS[kind]
        expected = f"{sign} {_number(context[bound])}"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        expected = f"one of {context.get('expected_tags', context.get('discriminator'))}"
    return f"expected {expected}, got {shown(error['input'])}"


def _number(value: float) -> str:
    """Whole where it is, however large."""
    return str(int(value)) if value == int(value) else str(value)
