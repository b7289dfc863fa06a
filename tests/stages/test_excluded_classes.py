"""`--exclude-classes imagenet`: lists that come along, and which of them is meant."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from stages.sources.voc import CLASSES as VOC
from stages.tasks.excluded_classes import LISTS, excluded_lines, read_excluded
from stages.tasks.task import Classes

NAMES = ["ade20k", "coco", "voc"]


def lines_of(name: str) -> list[str]:
    return (LISTS / "imagenet" / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def classes_of(name: str, *, only: str = "") -> list[str]:
    """Of a list: all, or those that overlap, or those that do `not`."""
    overlapping = [line.partition("  #")[0] for line in lines_of(name) if not line.startswith("#")]
    others = [line.removeprefix("# not: ") for line in lines_of(name) if line.startswith("# not: ")]
    return {"": overlapping + others, "overlapping": overlapping, "not": others}[only]


def classes(*names: str) -> Classes:
    return Classes(tuple(range(len(names))), names)


def excluded(spec: str, *names: str) -> set[str]:
    return {names[index] for index in read_excluded(spec, classes(*names))}


def test_lists_have_every_class_of_their_data_sets_once():
    sizes = {name: len(classes_of(name)) for name in NAMES}
    assert sizes == {"ade20k": 150, "coco": 80, "voc": 20}
    assert all(len(set(classes_of(name))) == size for name, size in sizes.items())
    assert sorted(classes_of("voc")) == list(VOC)
    for name in NAMES:
        head = lines_of(name)[0]
        counts = len(classes_of(name, only="overlapping")), len(classes_of(name, only="not"))
        assert re.findall(r"the (\d+) that", head) == [str(counts[0]), str(counts[1])], head


@pytest.mark.parametrize("name", NAMES)
def test_what_a_class_overlaps_with_is_a_class_of_imagenet_by_timm(name: str):
    info = files("timm.data") / "_info"
    synsets = set((info / "imagenet_synsets.txt").read_text().split())
    lemmas = dict(line.split("\t", 1) for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines())
    assert len(synsets) == 1000
    for line in lines_of(name):
        if line.startswith("#"):
            continue
        references = line.partition("  # ")[2].split("; ")
        assert references[0].startswith("n"), line
        for reference in references:
            if reference != "...":
                wnid, lemma = reference.split(" ", 1)
                assert wnid in synsets, line
                assert lemma in lemmas[wnid].split(", "), line


def test_lists_agree_on_what_they_call_by_the_same_name():
    told = [
        {**dict.fromkeys(classes_of(name), False), **dict.fromkeys(classes_of(name, only="overlapping"), True)}
        for name in NAMES
    ]
    for one in told:
        for other in told:
            assert {each: one[each] for each in one.keys() & other.keys()} == {
                each: other[each] for each in one.keys() & other.keys()
            }


@pytest.mark.parametrize("name", NAMES)
def test_the_list_is_found_by_the_classes(name: str):
    everything = classes_of(name)
    assert excluded("imagenet", *everything) == set(classes_of(name, only="overlapping"))
    assert excluded(f"imagenet:{name}", *everything) == set(classes_of(name, only="overlapping"))


def test_some_classes_of_a_data_set_are_enough_and_background_is_of_all():
    assert excluded("imagenet", "background", "giraffe", "zebra") == {"zebra"}
    assert excluded("imagenet", "person", "bicycle") == {"bicycle"}, "several lists know them, and agree"
    assert excluded("imagenet:voc", "person", "tvmonitor") == {"tvmonitor"}


def test_names_may_be_spelled_as_data_sets_spell_them():
    assert excluded("imagenet", "building, edifice", "sky", "bed ") == {"building, edifice", "bed "}
    assert excluded("imagenet", "rug;carpet;carpeting", "Hill") == {"rug;carpet;carpeting"}
    assert excluded("imagenet", "traffic_light", "fire_hydrant") == {"traffic_light"}


@pytest.mark.parametrize(
    ("spec", "names", "message"),
    [
        (
            "imagenet",
            ["person", "zebra", "unicorn", "centaur"],
            "imagenet: expected the classes of imagenet:ade20k or imagenet:coco or imagenet:voc, got 'unicorn' and 1 "
            "more of 4: give a file of classes",
        ),
        ("imagenet:voc", ["person", "zebra"], "expected the classes of imagenet:voc, got 'zebra' of 2"),
        (
            "imagenet:lvis",
            ["person"],
            "expected one of imagenet:ade20k, imagenet:coco, imagenet:voc, got imagenet:lvis",
        ),
        ("imagenet", ["zebra", "dog"], "imagenet: expected to leave at least one class, all 2 are excluded"),
        ("imagenet", ["0", "1"], "got '0' and 1 more of 2"),
    ],
)
def test_classes_that_no_list_knows_are_refused(spec: str, names: list[str], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_excluded(spec, classes(*names))


def test_a_file_of_that_name_is_the_file_and_a_copied_list_means_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copied = tmp_path / "mine.txt"
    copied.write_text("\n".join(lines_of("coco")), encoding="utf-8")
    everything = classes_of("coco")
    assert excluded(str(copied), *everything) == excluded("imagenet:coco", *everything)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").write_text("giraffe\n")
    assert excluded("imagenet", "giraffe", "zebra") == {"giraffe"}
    assert excluded_lines("imagenet") == ["giraffe"]


def test_a_file_that_excludes_nothing_is_refused(tmp_path: Path):
    path = tmp_path / "none.txt"
    path.write_text("\n# nothing\n")
    with pytest.raises(ValueError, match=r"none\.txt: expected a class on at least one line, got none"):
        excluded(str(path), "giraffe", "zebra")


def test_what_decides_is_what_the_lists_say():
    assert excluded_lines("imagenet:coco") == lines_of("coco")
    assert len(excluded_lines("imagenet")) == sum(len(lines_of(name)) for name in NAMES)
