"""JSON files: an object, or a message that names the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from storage.json_files import json_object, read_json_object
from storage.locations import locate


@pytest.mark.parametrize("data", [b'{"a": [1, null]}', b'\xef\xbb\xbf{"a": [1, null]}\n'])
def test_an_object_is_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "some.json").write_bytes(data)
    assert read_json_object(locate(tmp_path), "some.json") == {"a": [1, None]}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"{", "something else: Expecting property name"),
        (b'{"a": 1} {"b": 2}', "something else: Extra data"),
        (b"\x00\x01", "something else: "),
        (b'{"a": "\xff"}', "bytes that are not UTF-8 (byte 7)"),
        (b"[" * 100_000, "JSON that is nested too deeply"),
        (b'{"a":' * 100_000, "JSON that is nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "something else: Exceeds the limit"),
        (b"[1]", "a list"),
        (b'"text"', "a string"),
        (b"true", "true or false"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b"null", "null"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_anything_else_is_refused_naming_the_file_and_what_it_is(tmp_path: Path, data: bytes, found: str) -> None:
    (tmp_path / "some.json").write_bytes(data)
    expected = f"{tmp_path}/some.json: expected a JSON object, got {found}"
    with pytest.raises(ValueError, match=re.escape(expected)) as raised:
        read_json_object(locate(tmp_path), "some.json")
    assert "\n" not in str(raised.value)


def test_bytes_from_elsewhere_are_read_alike() -> None:
    with pytest.raises(ValueError, match=r"^hf://x/y\.json: expected a JSON object, got a list$"):
        json_object(b"[]", "hf://x/y.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"some\.json"):
        read_json_object(locate(tmp_path), "some.json")
