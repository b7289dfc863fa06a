"""Where a command is to write: a place that cannot be made is refused in words, before anything is computed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import COMMANDS, command_of
from storage.file_errors import in_words
from storage.locations import locate
from storage.writable import refuse_unwritable

REST = {
    "export": ["--ranker", "r"],
    "export-scores": ["store", "--to", "csv"],
    "show": ["photo.jpg"],
    "report": ["work"],
    "compare": ["results"],
    "train-task": ["classify"],
}
"""What commands need besides --out to be parsed."""
FILES = {"export": "it.pt2", "show": "it.png", "report": "it.html"}
WRITING = [name for name in COMMANDS if any(each.name == "out" for each in command_of(name).params)]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()


def refusal(name: str, out: str) -> str:
    """The one line."""
    result = CliRunner().invoke(main, [name, *REST.get(name, []), "--out", out])
    assert result.exit_code == 1, result.output
    (line,) = result.output.splitlines()
    return line


def test_commands_that_write_are_known() -> None:
    assert {"report", "show", "export-scores", "score", "demo", "compare", "calibrate", "train-gfnet"} <= set(WRITING)


@pytest.mark.parametrize("name", WRITING)
def test_a_file_where_a_folder_should_be_is_one_line(name: str) -> None:
    out = f"file/below/{FILES.get(name, 'out')}"
    assert refusal(name, out) == f"Error: {out}: cannot be made: {Path('file').resolve()} is a file, expected a folder"
    assert sorted(os.listdir()) == ["file", "folder"]


@pytest.mark.parametrize("name", WRITING)
def test_so_is_a_folder_where_nothing_may_be_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # whoever is root may write anywhere
    out = f"folder/below/{FILES.get(name, 'out')}"
    told = f"cannot be made: no permission to write to {Path('folder').resolve()}"
    assert refusal(name, out) == f"Error: {out}: {told}"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_folder_is_no_file_to_write(name: str) -> None:
    assert refusal(name, "folder") == "Error: folder: expected a file to write, got a folder"


@pytest.mark.parametrize("name", [name for name in WRITING if name not in (*FILES, "export-scores")])
def test_a_file_is_no_folder_to_write_to(name: str) -> None:
    assert refusal(name, "file") == "Error: file: expected a folder to write to, got a file"


@pytest.mark.parametrize("path", ["new/deep/it", "folder/it", "file", "memory://bucket/it"])
def test_what_can_be_made_is_taken_and_nothing_is_made(path: str) -> None:
    if path.startswith("memory"):
        pytest.importorskip("obstore")
    refuse_unwritable(path, "file")
    assert sorted(os.listdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("file/it", "file: expected a folder, got a file"),
        ("file/deep/it", "file: expected a folder, got a file"),
        ("folder", "folder: expected a file, got a folder"),
        (f"{'n' * 300}/it", f"{'n' * 300}: {os.strerror(errno.ENAMETOOLONG)}"),
    ],
)
def test_a_write_that_is_only_then_refused_says_why(path: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"too long|expected") as caught:
        locate(path).write("", b"x")
    assert in_words(caught.value) == f"{tmp_path}/{expected}"
    assert sorted(os.listdir()) == ["file", "folder"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_a_parent_that_takes_no_folders_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        locate("/proc/x/it").write("", b"x")
    assert in_words(caught.value) == "/proc/x: no folder can be made there"


def test_a_settings_file_says_no_better_place() -> None:
    Path("photographs").mkdir()
    Path("pipeline.yaml").write_text("shard: {images: photographs, out: file}\n")
    for arguments in (["shard"], ["run", "pipeline.yaml"]):
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.output) == (1, "Error: file: expected a folder to write to, got a file\n")
