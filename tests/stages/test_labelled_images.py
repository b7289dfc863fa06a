"""CSV files of labels as a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pictures import fill

from stages.images.decoding import UnusableImage
from stages.settings.shard import ShardConfig
from stages.shard import run_shard
from stages.sources.labelled_images import read_labels
from stages.sources.listed_files import ImageNames
from stages.sources.source import Source
from stages.sources.table import find_images
from stages.tasks.objects import category_names, read_categories
from storage.shard_files import read_shard
from storage.shard_index import expand_shards, index_infos


def write(folder: Path, text: str | bytes) -> Path:
    fill(folder / "images", "a.png", "sub/b.png", "c.png", "notes.txt")
    (folder / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def settings(folder: Path, **more: Any) -> ShardConfig:
    return ShardConfig(images=str(folder / "images"), csv=str(folder / "labels.csv"), out=str(folder / "tars"), **more)


def find(folder: Path, **more: Any) -> Source:
    return find_images(settings(folder, **more).model_dump())


NO_HEADER = "labels.csv: line 1: expected a header such as "


def labels_of(source: Source) -> dict[str, Any]:
    found = [(item.path, item.load()) for item in source.items]
    return {path: example.categories if example.label is None else example.label for path, example in found}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_each_image_has_the_class_that_its_line_says(tmp_path: Path, separator: str) -> None:
    lines = [["file", "label"], ["a.png", "dog"], ["sub/b", "cat"], ["c.png", "dog"]]
    source = find(write(tmp_path, "\n".join(separator.join(line) for line in lines)))
    assert source.facts["classes"] == ["cat", "dog"]
    assert labels_of(source) == {"a.png": 1, "c.png": 1, "sub/b.png": 0}
    assert source.ignored == 1


def test_columns_are_found_by_their_names_and_text_in_quotes_is_one(tmp_path: Path) -> None:
    text = '\ufeffwhen, kind ,"file"\r\n2020,"a, or b",a.png\r\n\r\n2021,c,c.png\r\n'
    source = find(write(tmp_path, text), csv_file_column="file", csv_label_column="kind")
    assert source.facts["classes"] == ["a, or b", "c"]
    assert labels_of(source) == {"a.png": 0, "c.png": 1}
    assert "1 image of the folder is not in labels.csv, and so in no tar: sub/b.png" in source.notes


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    source = find(write(tmp_path, "file,label\na,10\nsub/b,9\nc,2\n"))
    assert source.facts["classes"] == ["2", "9", "10"]


def test_several_labels_reach_the_task_that_learns_them(tmp_path: Path) -> None:
    folder = write(tmp_path, "file,label\na,sky| tree\nsub/b,\nc,tree|tree\n")
    run_shard(settings(folder, csv_separator="|", shuffle=False), lambda *_: None)
    shards = expand_shards([str(folder / "tars")])
    ((_, info),) = index_infos(shards)
    names = category_names(info)
    found = {sample.key: {names[id_] for id_ in read_categories(sample)} for sample in read_shard(shards[0])}
    assert found == {"a": {"sky", "tree"}, "sub/b": set(), "c": {"tree"}}
    assert all("objects" not in json.loads(sample.fields["json"]) for sample in read_shard(shards[0]))


def test_lines_that_name_no_usable_image_are_skipped_with_their_reason(tmp_path: Path) -> None:
    source = find(write(tmp_path, "file,label\nlost.png,x\nlost,x\nnotes.txt,x\na,\nc,x\n"))
    reasons = {}
    for item in source.items:
        try:
            item.load()
        except UnusableImage as error:
            reasons[item.path] = str(error)
    assert reasons == {
        "a.png": "labels.csv, line 5: no label",
        "lost": "no such image",
        "lost.png": "no such file, or not a plain one",
        "notes.txt": "not an image by its name",
    }


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("", {}, "labels.csv: expected a header, got nothing"),
        ("file,label\n", {}, "labels.csv: expected lines below the header, got none"),
        ("file\na\n", {}, "labels.csv: expected at least 2 columns, got 1: file"),
        ("f,l\na,x\n", {"csv_label_column": "kind"}, "labels.csv: expected one column 'kind', got 0: it has f, l"),
        ("f,f\na,x\n", {"csv_file_column": "f"}, "labels.csv: expected one column 'f', got 2: it has f, f"),
        ("f,l\na,x\nc\n", {}, "labels.csv: line 3: expected 2 columns, as in the header, got 1"),
        (
            "f,l\na,x\nc,y,z\n",
            {},
            "labels.csv: line 3: expected 2 columns, as in the header, got 3; a label with ',' in",
        ),
        (
            "f,l\na,x, big\n",
            {"csv_separator": ","},
            "line 2: expected 2 columns, as in the header, got 3; a label with",
        ),
        ("sep=;\nf;l\na;x;y\n", {}, "labels.csv: line 3: expected 2 columns, as in the header, got 3"),
        ("a.png,x\nsub/b.png,y\n", {}, f"{NO_HEADER}file,label as the first line, got a.png, x (if a.png is the name"),
        ("lost.JPG;x\na.png;y\n", {}, f"{NO_HEADER}file;label as the first line, got lost.JPG, x ("),
        ("sub/b,x\nc,y\n", {}, f"{NO_HEADER}file,label as the first line, got sub/b, x ("),
        ("a.png\nc.png\n", {}, f"{NO_HEADER}file,label as the first line, got a.png ("),
        ("f,l\na,x\n,y\n", {}, "labels.csv: line 3: expected the name of a file, got none"),
        ("f,l\n../a.png,x\n", {}, "labels.csv: line 2: '../a.png' leads out of the folder of images"),
        ("f,l\n/etc/a.png,x\n", {}, "labels.csv: line 2: '/etc/a.png' leads out of the folder of images"),
        ("f,l\na,x\na.png,y\n", {}, "labels.csv: line 3: expected each image once, got 'a.png' of line 2 again"),
        ('f,l\n"a"b,x\n', {}, "labels.csv: line 2: not CSV: "),
        (b"f,l\na,\xff\n", {}, "csv: expected text in UTF-8, got byte 0xff in "),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_naming_the_line(
    tmp_path: Path, text: str | bytes, more: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        find(write(tmp_path, text), **more)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_without_extension_that_two_images_have_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "f,l\na,x\n")
    fill(folder / "images", "a.jpg")
    with pytest.raises(ValueError, match=r"line 2: expected one image called a, got a\.jpg and a\.png"):
        find(folder)


def test_a_table_that_is_a_pipe_or_missing_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "f,l\na,x\n")
    (folder / "labels.csv").unlink()
    with pytest.raises(ValueError, match=r"csv: cannot read .*No such file"):
        find(folder)
    (folder / "labels.csv").mkdir()
    with pytest.raises(ValueError, match="csv: expected a plain file"):
        find(folder)


def test_the_header_says_what_separates_columns() -> None:
    (line,) = read_labels("a;b;c,d\nx;1,5;\n", "t", None, None, None, ImageNames([]))
    assert (line.name, line.labels) == ("x", ("1,5",))


@pytest.mark.parametrize("said", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n'])
def test_the_line_that_excel_puts_above_the_header_says_it_too(said: str) -> None:
    (line,) = read_labels(f"{said}file;label,or,labels\nx;1,5\n", "t", None, None, None, ImageNames([]))
    assert (line.line, line.name, line.labels) == (3, "x", ("1,5",))


def test_a_column_that_is_named_may_be_called_as_an_image_is(tmp_path: Path) -> None:
    source = find(write(tmp_path, "a,label\nc.png,x\n"), csv_file_column="a")
    assert labels_of(source) == {"c.png": 0}


def test_empty_cells_beyond_the_header_are_passed_over(tmp_path: Path) -> None:
    source = find(write(tmp_path, "file,label\na,x,, \nc,y,\n"))
    assert labels_of(source) == {"a.png": 0, "c.png": 1}


def test_an_image_without_a_label_is_packed_where_there_may_be_several(tmp_path: Path) -> None:
    source = find(write(tmp_path, "file,labels\na,x|y\nc,\n"), csv_separator="|")
    assert labels_of(source) == {"a.png": [0, 1], "c.png": []}
