"""JSON files of ours that someone may have cut, edited or replaced: read with a message that names the file."""

from __future__ import annotations

import json
from typing import Any

from storage.location import Location

_KINDS = {
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def read_json_object(place: Location, name: str) -> dict[str, Any]:
    """What the file `name` in `place` holds.

    Raises FileNotFoundError without one, and ValueError naming the file if it holds anything but one JSON object:
    nothing, bytes that are not UTF-8, a part of JSON, JSON that is nested too deeply to be read, another value.
    """
    return json_object(place.read(name), f"{place.url}/{name}")


def json_object(data: bytes, url: str) -> dict[str, Any]:
    """The object that `data`, the content of `url`, is. Raises as `read_json_object`."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _unexpected(url, f"bytes that are not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise _unexpected(url, "JSON that is nested too deeply") from None
    except ValueError as error:  # of the grammar, or a number of thousands of digits
        found = f"something else: {error}" if data.strip() else "an empty file"
        raise _unexpected(url, found) from None
    if not isinstance(content, dict):
        raise _unexpected(url, _KINDS[type(content)])
    return content


def _unexpected(url: str, found: str) -> ValueError:
    return ValueError(f"{url}: expected a JSON object, got {found}")
