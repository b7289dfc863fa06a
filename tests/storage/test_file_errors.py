"""Errors of disks say which file they are about."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.progress.event_file import EventFile
from storage.file_errors import NamedFile, in_words, naming
from storage.locations import locate


def fail_with(number: int) -> Any:
    def fail(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when files are flushed to it, whatever they are."""
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_write_to_a_full_disk_names_the_file() -> None:
    with pytest.raises(OSError, match="No space left on device: 'st/score'"):  # noqa: SIM117
        with NamedFile(Path("/dev/full"), "w", called=Path("st/score")) as file:
            file.write(b"x")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
@pytest.mark.parametrize("size", [-1, 10])
def test_a_read_that_fails_names_the_file(size: int) -> None:
    with (
        pytest.raises(OSError, match="Input/output error: '/proc/self/mem'"),  # of address 0, which is never there
        locate("/proc/self/mem").open() as file,
    ):
        file.read(size)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = "/dev/zero"
    if kind == "pipe":
        os.mkfifo(path := str(tmp_path / "pipe"))
    with pytest.raises(OSError, match=rf"expected a plain file, got a pipe or a device: '{path}'"):
        locate(path).read()


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=f"Is a directory: '{tmp_path}'"):
        locate(tmp_path).read()


def test_a_working_folder_that_is_gone_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    assert in_words(error) == "No such file or directory"
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert in_words(error).startswith("the working folder is gone")


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("act", ["write", "create"])
def test_a_full_disk_is_named_by_the_file_that_was_to_be_there(tmp_path: Path, act: str) -> None:
    place = locate(tmp_path)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/a.json'"):
        getattr(place, act)("a.json", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named_by_the_file_and_not_by_a_temporary_one(tmp_path: Path) -> None:
    name = "n" * 250  # a file may have it, one with an ending of ours may not
    with pytest.raises(OSError, match=f"File name too long: '{tmp_path}/{name}'"):
        locate(tmp_path).write(name, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_an_event_file_on_a_full_disk_is_named() -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        EventFile("/dev/full").write("run_started")


def test_a_full_folder_for_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(OSError, match=f"{tempfile.gettempdir()}, a temporary file for memory://full/a/b.tar"):
        locate("memory://full/a").write("b.tar", b"x" * 100)


def test_an_error_that_names_a_file_keeps_its_name() -> None:
    with pytest.raises(FileNotFoundError, match="'other'"), naming("mine"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "other")
