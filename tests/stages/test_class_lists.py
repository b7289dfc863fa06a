"""Classes of two lists are matched by name, whatever their numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ranked_tars import INFO

from stages.sources.scenes import BACKGROUND, CATEGORIES
from stages.tables import TASKS
from stages.tasks.class_lists import (
    ClassList,
    KnownClasses,
    digest,
    match_lists,
    merge_lists,
    named_by_file,
    read_class_lists,
)
from storage.locations import locate
from storage.shard_index import INDEX_NAME, ShardEntry, index_bytes

NAMES = {
    "classify": dict(enumerate(CATEGORIES)),
    "multilabel": dict(enumerate(CATEGORIES)),
    "detect": dict(enumerate(CATEGORIES)),
    "segment": dict(enumerate([BACKGROUND, *CATEGORIES])),
}


def shard_beside(folder: Path, name: str, info: Any) -> ShardEntry:
    if info is not None:
        locate(folder).write(INDEX_NAME, index_bytes("some", info, []))
    return ShardEntry(f"{locate(folder).url}/{name}.tar")


@pytest.mark.parametrize("task", TASKS)
def test_names_are_those_of_the_index_beside_each_tar(task: Any, tmp_path: Path) -> None:
    infos: dict[str, Any] = {"one": INFO, "two": None, "three": {"kind": "else"}, "four": []}
    shards = [shard_beside(tmp_path / folder, f"{folder}-0", info) for folder, info in infos.items()]
    shards.append(ShardEntry(shards[0].url.replace("one-0", "one-1")))
    lists = read_class_lists(TASKS[task], shards)
    assert {tar: dict(each.names) for tar, each in lists.items()} == {
        **{"one-0": NAMES[task], "one-1": NAMES[task]},
        **{"two-0": {}, "three-0": {}, "four-0": {}},
    }
    assert lists["one-1"].where == f"{tmp_path}/one/{INDEX_NAME}"


@pytest.mark.parametrize(
    ("task", "info"),
    [
        ("classify", {"classes": 8}),
        ("classify", {"classes": [1, 2]}),
        ("classify", {"classes": "cats"}),
        ("segment", {"mask_classes": {"0": "road"}}),
        ("multilabel", {"categories": ["cat"]}),
        ("detect", {"categories": [{"id": "x", "name": "cat"}]}),
    ],
)
def test_an_index_with_something_else_in_the_place_of_names_is_refused_by_name(
    task: Any, info: Any, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"^{tmp_path}/index.json: .*{next(iter(info))}"):
        read_class_lists(TASKS[task], [shard_beside(tmp_path, "a", info)])


def lists_of(**names: Mapping[int, str] | list[str]) -> dict[str, ClassList]:
    """By tar, each in a folder of its own."""
    return {tar: ClassList(f"{tar}/index.json", listed(each)) for tar, each in names.items()}


def listed(names: Mapping[int, str] | list[str]) -> dict[int, str]:
    return dict(enumerate(names)) if isinstance(names, list) else dict(names)


COLOURS = ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("one", "other", "names", "numbers"),
    [
        (COLOURS, COLOURS, COLOURS, {0: 0, 1: 1, 2: 2}),
        (COLOURS, ["blue", "red"], COLOURS, {0: 0, 1: 2}),
        (["blue", "red"], COLOURS, {0: "blue", 1: "red", 2: "green"}, {0: 0, 1: 2, 2: 1}),
        (COLOURS, ["black", "red"], [*COLOURS, "black"], {0: 3, 1: 2}),
        ({1: "cat", 17: "dog"}, {1: "dog", 18: "cow"}, {1: "cat", 17: "dog", 18: "cow"}, {1: 17, 18: 18}),
        ({1: "cat", 2: "cat"}, {2: "cat", 1: "cat"}, {1: "cat", 2: "cat"}, {1: 1, 2: 2}),
        ({1: "cat"}, {2: "owl", 3: "owl"}, {1: "cat", 2: "owl", 3: "owl"}, {2: 2, 3: 3}),
        ([], COLOURS, COLOURS, {0: 0, 1: 1, 2: 2}),
    ],
    ids=str,
)
def test_classes_of_several_lists_are_those_of_all_names(one: Any, other: Any, names: Any, numbers: Any) -> None:
    merged = merge_lists(lists_of(a=one, b=other))
    assert merged.names == listed(names)
    own = merged.numbers.get("b", lambda id_: id_)
    assert {id_: own(id_) for id_ in listed(other)} == numbers


def test_lists_that_differ_are_told_and_the_same_are_not() -> None:
    assert merge_lists(lists_of(a=COLOURS, b=COLOURS)).notes == ()
    (told,) = merge_lists(lists_of(a=COLOURS, b=["blue", "red"])).notes
    assert told == ("classes are matched by name: blue, green, red in a/index.json; blue, red in b/index.json")
    (told,) = merge_lists(lists_of(a=COLOURS, b=[])).notes
    assert told == "no names of classes in b/index.json: taken by number, as in a/index.json"


def test_a_list_that_is_long_or_commands_a_terminal_is_told_short_and_plain() -> None:
    long = [f"class {number}" for number in range(1000)]
    (told,) = merge_lists(lists_of(a=long, b=["\x1b[31mred", *long])).notes
    assert len(told) < 500
    assert "\x1b" not in told
    assert "(1000 classes)" in told
    many = {f"t{number}": [f"name {number}"] for number in range(100)}
    (told,) = merge_lists(lists_of(**many)).notes
    assert len(told) < 1000


@pytest.mark.parametrize(
    ("one", "other"), [(["cat", "cat"], {5: "cat"}), (["cat"], {0: "dog", 5: "cat", 6: "cat"})], ids=str
)
def test_a_name_that_several_classes_have_does_not_match_another_number(one: Any, other: Any) -> None:
    with pytest.raises(ValueError, match=r"^b/index\.json: class 5: expected a name that one class has, .* got 'cat'$"):
        merge_lists(lists_of(a=one, b=other))


def test_a_number_beyond_its_own_list_is_no_class_of_another() -> None:
    merged = merge_lists(lists_of(a=COLOURS, b=["blue", "red"]))
    with pytest.raises(ValueError, match=r"^class 2: expected one of 2, from 0 to 1, as b/index\.json has names$"):
        merged.numbers["b"](2)


def known(names: Any, index_names: Any = None, ignored: tuple[int, ...] = ()) -> KnownClasses:
    return KnownClasses("the model m", listed(names), None if index_names is None else listed(index_names), ignored)


MATCHED: list[tuple[KnownClasses, Any, dict[int, int | None]]] = [
    (known(COLOURS, COLOURS), COLOURS, {0: 0, 1: 1, 2: 2}),
    (known(COLOURS, COLOURS), ["blue", "red"], {0: 0, 1: 2, 2: None}),
    (known(COLOURS), ["red", "green", "blue"], {0: 2, 1: 1, 2: 0}),
    (known(COLOURS), ["blue", "red", "violet"], {0: 0, 1: 2, 2: None}),
    (known(COLOURS), ["Blue", "RED"], {0: None, 1: None}),
    # a file named the classes in training: the index still tells which they are
    (known(["tench", "goldfish"], ["n01", "n02"]), ["n02"], {0: 1}),
    (known(["tench", "goldfish"], ["n01", "n02"]), ["goldfish"], {0: 1}),
    (known(["b", "a"], ["a", "b"]), ["a", "b"], {0: 0, 1: 1}),
    # several of a name
    (known({1: "cat", 2: "cat", 3: "dog"}), {1: "cat", 2: "cat", 4: "dog"}, {1: 1, 2: 2, 4: 3}),
    (known({1: "cat", 2: "cat"}), {3: "cat"}, {3: None}),
    (known({1: "cat"}), {1: "cat", 2: "cat"}, {1: 1, 2: None}),
    # no names: by number
    (known(COLOURS, COLOURS), [], {0: 0, 1: 1, 5: 5}),
    (known(["0", "1", "2"], []), ["blue", "red"], {0: 0, 1: 1}),
    # digits are names where an index has them, and where it is not known but all fit
    (known(["0", "1", "2"], ["0", "1", "2"]), ["1", "2"], {0: 1, 1: 2}),
    (known(["0", "1", "2"], ["0", "1", "2"]), ["1", "7"], {0: 1, 1: None}),
    (known(["0", "1", "2"]), ["1", "2"], {0: 1, 1: 2}),
    (known(["0", "1", "2"]), ["blue", "red"], {0: 0, 1: 1}),
    # what is ignored needs no match
    (known({1: "cat", 2: "dog"}, ignored=(0,)), {0: "ground", 2: "dog", 1: "cat"}, {0: 0, 1: 1, 2: 2}),
    (known({1: "cat"}, ["ground", "cat"], (0,)), ["cat", "ground"], {0: 1, 1: 0}),
]


@pytest.mark.parametrize(("task", "given", "expected"), MATCHED, ids=str)
def test_numbers_that_a_task_is_judged_on_are_those_of_the_same_names(
    task: KnownClasses, given: Any, expected: dict[int, int | None]
) -> None:
    numbers = match_lists(lists_of(a=given), task).numbers.get("a", lambda id_: id_)
    found: dict[int, int | None] = {}
    for id_ in expected:
        try:
            found[id_] = numbers(id_)
        except ValueError:
            found[id_] = None
    assert found == expected


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [
        (
            known(COLOURS),
            ["blue", "violet"],
            "class 1 is 'violet' in a/index.json: expected one of the classes of the model m: blue, green, red; "
            "got those of the shards: blue, violet",
        ),
        (known({1: "cat", 2: "cat"}), {0: "x", 1: "cat"}, None),
        (
            known({1: "cat", 2: "cat"}),
            {0: "dog", 3: "cat"},
            "class 3 is 'cat' in a/index.json, a name that several classes have: expected one of the classes of the "
            "model m: cat, cat; got those of the shards: dog, cat",
        ),
    ],
)
def test_a_class_that_is_not_there_is_refused_with_both_lists(task: KnownClasses, given: Any, message: Any) -> None:
    numbers = match_lists(lists_of(a=given), task).numbers["a"]
    last = max(listed(given))
    if message is None:
        assert numbers(last) == last
        return
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        numbers(last)


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        (known(COLOURS, COLOURS), COLOURS, []),
        (known(COLOURS), COLOURS, []),
        (
            known(COLOURS),
            ["blue", "red"],
            ["classes are matched by name: blue, green, red in the model m; blue, red in a/index.json"],
        ),
        (
            known(COLOURS),
            [],
            ["no names of classes in a/index.json: those of a/index.json are taken by number"],
        ),
        (
            known(["0", "1"], []),
            ["blue", "red"],
            ["no names of classes in the model m: those of a/index.json are taken by number"],
        ),
    ],
    ids=str,
)
def test_how_classes_were_matched_is_told_unless_lists_are_the_same(
    task: KnownClasses, given: Any, told: list[str]
) -> None:
    assert list(match_lists(lists_of(a=given), task).notes) == told


def test_a_file_names_the_numbers_of_all_tars_unless_their_indexes_say_that_these_differ() -> None:
    file = ClassList("names.txt", {0: "a"})
    assert named_by_file(lists_of(a=COLOURS, b=COLOURS, c=[]), file) == dict.fromkeys("abc", file)
    with pytest.raises(ValueError, match=r"^names\.txt: .*blue, green, red in a/index\.json; blue, red in b/"):
        named_by_file(lists_of(a=COLOURS, b=["blue", "red"]), file)


def test_a_file_that_has_names_of_an_index_at_other_numbers_is_refused() -> None:
    lists = lists_of(a=["blue", "green", "red"])
    for names in (["azure", "green", "crimson"], ["blue", "red", "red"]):  # of two classes of one name any may be meant
        assert named_by_file(lists, ClassList("names.txt", dict(enumerate(names))))
    with pytest.raises(
        ValueError, match=r"^names\.txt: expected .*a/index\.json, got 'red' as class 0, .* class 2 there"
    ):
        named_by_file(lists, ClassList("names.txt", dict(enumerate(["red", "blue", "green"]))))


def test_a_digest_is_of_names_and_tars_not_of_places() -> None:
    one = lists_of(a=COLOURS, b=[])
    moved = {tar: ClassList("elsewhere", each.names) for tar, each in one.items()}
    assert digest(one, {}) == digest(moved, {})
    others = [digest({}, one), digest(lists_of(a=COLOURS, b=["x"]), {}), digest(lists_of(a=COLOURS[::-1], b=[]), {})]
    assert len({digest(one, {}), *others}) == 4
