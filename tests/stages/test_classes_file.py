"""The classes of a task as they were noted, and what is refused of an edited file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.tasks.classes_file import read_classes
from stages.tasks.task import Classes
from storage.locations import locate


def test_what_was_noted_is_read_whatever_else_stands_there(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text('{"of": {"task": "classify"}, "ids": [0, 7], "names": ["cat", "größer"]}')
    assert read_classes(locate(tmp_path), "classes.json") == Classes((0, 7), ("cat", "größer"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a JSON object, got an empty file"),
        ("[" * 100_000, "expected a JSON object, got JSON that is nested too deeply"),
        ("{}", "expected ids and names of classes: ids: Field required"),
        ('{"ids": 3, "names": ["a"]}', r"expected ids and names of classes: ids: "),
        ('{"ids": [true], "names": ["a"]}', r"expected ids and names of classes: ids\.0: "),
        ('{"ids": ["0"], "names": ["a"]}', r"expected ids and names of classes: ids\.0: "),
        ('{"ids": [0], "names": [1]}', r"expected ids and names of classes: names\.0: "),
        ('{"ids": [0, 1], "names": ["a"]}', "classes: expected a name for each id, got 2 ids and 1 names"),
        ('{"ids": [], "names": []}', "classes: expected a name for each id, got 0 ids"),
        ('{"ids": [1, 0], "names": ["a", "b"]}', "classes: expected ids that ascend"),
        ('{"ids": [1, 1], "names": ["a", "b"]}', "classes: expected ids that ascend"),
    ],
)
def test_an_edited_file_is_refused_with_what_is_wrong_in_it(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=rf"classes\.json: {message}") as refused:
        read_classes(locate(tmp_path), "classes.json")
    assert str(refused.value).isprintable()
