"""A CSV file of labels as a source: the images that it lists, each with one label, or with several."""

from __future__ import annotations

import csv as csv_format
import dataclasses
import hashlib
import io
import re
from functools import partial
from pathlib import Path
from typing import Any

from stages.images.decoding import UnusableImage
from stages.sources.files import FoundFile, is_image, list_files, local_folder
from stages.sources.listed_files import ImageNames
from stages.sources.look_alikes import note_look_alikes
from stages.sources.source import Example, Item, Source
from stages.sources.text_files import read_text
from stages.sources.wording import some_of
from storage.locations import checked_path
from storage.shard_files import IMAGE_FIELDS
from storage.text import counted, printable

DELIMITERS = ",;\t"
_SAID_BY_EXCEL = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
"""A first line that says the delimiter and is no header."""


@dataclasses.dataclass(frozen=True)
class LabelledFile:
    """A line of the table: a file name, with or without its extension, and its labels."""

    line: int
    name: str
    labels: tuple[str, ...]


def from_csv(
    images: str, csv: str, csv_file_column: str | None, csv_label_column: str | None, csv_separator: str | None
) -> Source:
    """The images of the folder `images` that the file `csv` lists. With a separator they have categories, without one
    each has a class; both are numbered in the order of their names, or as numbers where all are whole numbers."""
    folder, table = local_folder("images", images), Path(csv)
    text = read_text("csv", table)
    listing = list_files(folder)
    known = ImageNames(listing.images)
    files = read_labels(text, csv, csv_file_column, csv_label_column, csv_separator, known)
    names = sorted({label for file in files for label in file.labels}, key=_order)
    if all(name.isdecimal() for name in names):
        names.sort(key=lambda name: (int(name), name))
    numbers = {name: number for number, name in enumerate(names)}
    items = []
    paths: dict[str, int] = {}
    for file in files:
        path = _path_of(file, known, csv)
        if path in paths:
            raise ValueError(
                f"{csv}: line {file.line}: expected each image once, got {path!r} of line {paths[path]} again"
            )
        paths[path] = file.line
        found = FoundFile.at(folder, path)
        labels = [numbers[label] for label in file.labels]
        load = partial(_load, found, labels, csv_separator is not None, f"{table.name}, line {file.line}")
        items.append(Item(path, found.stamp, load, classes=frozenset(labels)))
    unlisted = [path for path in listing.images if path not in paths]
    what = ("label", "labels") if csv_separator is not None else ("class", "classes")
    notes = [
        f"CSV: {counted(len(names), *what)} ({some_of([printable(name) for name in names])}).",
        *note_look_alikes(names, *what),
    ]
    if unlisted:
        images_are = counted(len(unlisted), "image of the folder is", "images of the folder are")
        notes.append(f"{images_are} not in {printable(table.name)}, and so in no tar: {some_of(unlisted)}")
    facts: dict[str, Any] = {"kind": "csv", "labels_sha256": hashlib.sha256(text.encode()).hexdigest()}
    if csv_separator is None:
        facts["classes"] = names
    else:
        facts["categories"] = [{"id": number, "name": name} for name, number in numbers.items()]
    others = sum(not is_image(path) for path in listing.paths)
    ordered = sorted(items, key=lambda item: item.path)
    return Source(ordered, facts, others, (*notes, *listing.notes, *listing.unlisted))


def read_labels(
    text: str,
    where: str,
    file_column: str | None,
    label_column: str | None,
    separator: str | None,
    known: ImageNames,
) -> list[LabelledFile]:
    """The lines of a table with a header; columns are separated by what Excel's line `sep=` above it says, else by the
    one of `DELIMITERS` that the header has most of.

    Raises ValueError naming the line: one of the images `known` in the place of a header, a column that is not there,
    or a line that is shorter than its header, or longer and not empty there.
    """
    lines = io.StringIO(text, newline="")
    head = lines.readline()
    said = _SAID_BY_EXCEL.fullmatch(head.rstrip("\r\n"))
    delimiter = said[1] if said else max(DELIMITERS, key=head.count)
    above = 1 if said else 0
    if not said:
        lines.seek(0)
    reader = csv_format.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise ValueError(f"{where}: expected a header, got nothing")
        if file_column is None and _names_an_image(header[0], known):
            wanted = printable(f"file{delimiter}label")
            raise ValueError(
                f"{where}: line {above + 1}: expected a header such as {wanted} as the first line, got {_told(header)} "
                f"(if {printable(header[0])} is the name of a column, say it in --csv-file-column)"
            )
        file_at = _column(header, file_column, 0, where)
        label_at = _column(header, label_column, 1, where)
        files = []
        for row in reader:
            if not any(row):
                continue
            number = above + reader.line_num
            too_long = any(cell.strip() for cell in row[len(header) :])
            if too_long or len(row) <= max(file_at, label_at):
                hint = f"; a label with {delimiter!r} in it has to be in double quotes" if too_long else ""
                raise ValueError(
                    f"{where}: line {number}: expected {len(header)} columns, as in the header, got {len(row)}{hint}"
                )
            labels = row[label_at].split(separator) if separator is not None else [row[label_at]]
            named = dict.fromkeys(label.strip() for label in labels)
            files.append(LabelledFile(number, row[file_at].strip(), tuple(name for name in named if name)))
    except csv_format.Error as error:
        raise ValueError(f"{where}: line {above + reader.line_num}: not CSV: {error}") from None
    if not files:
        raise ValueError(f"{where}: expected lines below the header, got none")
    return files


def _names_an_image(name: str, known: ImageNames) -> bool:
    """By its extension, or since it is there."""
    try:
        return is_image(name) or known.find(name) is not None
    except ValueError:  # several
        return True


def _column(header: list[str], name: str | None, default: int, where: str) -> int:
    if name is None:
        if default >= len(header):
            raise ValueError(f"{where}: expected at least {default + 1} columns, got {len(header)}: {_told(header)}")
        return default
    if header.count(name) != 1:
        raise ValueError(f"{where}: expected one column {name!r}, got {header.count(name)}: it has {_told(header)}")
    return header.index(name)


def _told(header: list[str]) -> str:
    return printable(", ".join(header))


def _order(name: str) -> tuple[str, str]:
    """Names in the order of the alphabet, whatever their case."""
    return name.casefold(), name


def _path_of(file: LabelledFile, known: ImageNames, where: str) -> str:
    """What the line means: an image of the folder, or one that is not there."""
    try:
        if not file.name:
            raise ValueError("expected the name of a file, got none")
        name = checked_path(file.name, "the folder of images")
        return known.find(name) or name
    except ValueError as error:
        raise ValueError(f"{where}: line {file.line}: {error}") from None


def _load(file: FoundFile, labels: list[int], several: bool, where: str) -> Example:
    if file.extension not in IMAGE_FIELDS:
        raise UnusableImage("no such image" if not file.extension else "not an image by its name")
    if several:
        return Example(file.extension, file.read(), categories=labels)
    if not labels:
        raise UnusableImage(f"{where}: no label")
    return Example(file.extension, file.read(), labels[0])
