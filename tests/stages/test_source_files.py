"""The files of folders that people have: none blocks, none ends the run, no folder is passed over without a word."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from pictures import fill, mask, picture

from stages.images.decoding import UnusableImage
from stages.sources.files import MAX_BYTES, FoundFile, list_files, local_folder
from stages.sources.image_folder import NO_LABELS, from_folder
from stages.sources.masked_images import from_masks


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes reading a file, or listing a folder, of a name fail with an error number; the tests may run as root."""

    def begin(name: str, number: int) -> None:
        for owner, function in ((Path, "read_bytes"), (os, "scandir")):
            real = getattr(owner, function)

            def failing(path: Any, *, real: Any = real) -> Any:
                if os.path.basename(path) == name:
                    raise OSError(number, os.strerror(number), str(path))
                return real(path)

            monkeypatch.setattr(owner, function, failing)

    return begin


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EIO, "cannot be read: Input/output error"),
        (errno.EACCES, "cannot be read: Permission denied"),
        (errno.ESTALE, "cannot be read: Stale file handle"),
        (errno.ETIMEDOUT, "cannot be read: Connection timed out"),
        (errno.ENAMETOOLONG, "cannot be read: File name too long"),
        (errno.ENOENT, "no such file, or not a plain one"),
    ],
)
def test_a_file_that_the_disk_does_not_give_is_unusable_with_its_reason(
    tmp_path: Path, refuse: Any, number: int, reason: str
) -> None:
    file = FoundFile.at(fill(tmp_path, "a.png"), "a.png")
    refuse("a.png", number)
    with pytest.raises(UnusableImage, match=f"^{reason}$"):
        file.read()


def test_a_name_that_is_too_long_for_the_disk_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match=r"^cannot be read: File name too long$"):
        FoundFile.at(tmp_path, "x" * 5000 + ".png").read()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_this_process_lacks_is_no_files_fault(tmp_path: Path, refuse: Any, number: int) -> None:
    file = FoundFile.at(fill(tmp_path, "a.png"), "a.png")
    refuse("a.png", number)
    with pytest.raises(OSError, match=os.strerror(number)):
        file.read()


@pytest.mark.parametrize("left", ["nothing", "an empty mount point"])
def test_a_folder_that_is_gone_since_it_was_listed_is_no_files_fault(tmp_path: Path, left: str) -> None:
    folder = fill(tmp_path / "images", "a.png", "b.png")
    file = FoundFile.at(folder, "a.png")
    os.rename(folder, tmp_path / "elsewhere")
    if left != "nothing":
        folder.mkdir()
    with pytest.raises(ValueError, match=r"images: this folder of images is gone since it was listed \(No such file"):
        file.read()


def test_a_single_file_that_is_gone_since_it_was_listed_is_unusable(tmp_path: Path) -> None:
    file = FoundFile.at(fill(tmp_path, "a.png", "b.png"), "a.png")
    (tmp_path / "a.png").unlink()
    with pytest.raises(UnusableImage, match="no such file"):
        file.read()


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")  # nobody writes to it
    os.symlink("/dev/zero", tmp_path / "endless.png")
    os.symlink("gone", tmp_path / "dangling.png")
    os.symlink("loop.png", tmp_path / "loop.png")
    for name in ("folder", "pipe", "endless", "dangling", "loop"):
        with pytest.raises(UnusableImage, match=r"^no such file, or not a plain one$"):
            FoundFile.at(tmp_path, f"{name}.png").read()
    found = {item.path for item in from_folder(str(tmp_path)).items}
    assert found == {"pipe.png", "endless.png", "dangling.png", "loop.png"}


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room
    with pytest.raises(UnusableImage, match=f"a file of {MAX_BYTES + 1} bytes, expected at most {MAX_BYTES}"):
        FoundFile.at(tmp_path, "a.png").read()


# folders


@pytest.mark.parametrize("folder", ["b", "a/deep"])
def test_a_folder_that_cannot_be_listed_is_refused_by_name(tmp_path: Path, refuse: Any, folder: str) -> None:
    fill(tmp_path / "images", "a/1.png", "a/deep/2.png", "b/3.png", "c/4.png")
    fill(tmp_path / "masks", "a/1.png", data=mask())
    refuse(os.path.basename(folder), errno.EACCES)
    message = rf"images/{folder}: cannot list this folder \(Permission denied\): make it readable, or move it away"
    with pytest.raises(ValueError, match=message):
        from_folder(str(tmp_path / "images"))
    with pytest.raises(ValueError, match=message):
        from_masks(str(tmp_path / "images"), str(tmp_path / "masks"))


def test_a_hidden_folder_that_cannot_be_listed_is_nobodys_loss(tmp_path: Path, refuse: Any) -> None:
    fill(tmp_path, "a.png", ".Trash-0/b.png")
    refuse(".Trash-0", errno.EACCES)
    assert [item.path for item in from_folder(str(tmp_path)).items] == ["a.png"]


def test_a_link_to_a_folder_that_may_not_be_entered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "images", "a/1.png")
    os.symlink(tmp_path / "private", tmp_path / "images" / "b")
    real = Path.stat

    def denying(path: Path, *, follow_symlinks: bool = True) -> Any:
        if path.name == "b" and follow_symlinks:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", denying)
    with pytest.raises(ValueError, match=r"images/b: cannot list this folder \(Permission denied\)"):
        from_folder(str(tmp_path / "images"))


def test_links_that_are_not_followed_are_told(tmp_path: Path) -> None:
    folder = fill(tmp_path / "images", "a/1.png")
    fill(tmp_path / "elsewhere", "2.png")
    os.symlink(tmp_path / "elsewhere", folder / "b")
    os.symlink(tmp_path / "elsewhere", folder / "c")
    os.symlink(tmp_path / "gone", folder / "d")
    os.symlink("e", folder / "e")
    assert list_files(folder).notes == (
        "1 link leads to a folder that is here already, and nothing is taken from there: c",
        "2 links lead nowhere: d, e",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "images: expected a local folder, found none at .*none"),
        ("file", "images: expected a local folder, found something else at .*file"),
        ("loop", "images: expected a local folder, found none at .*loop"),
        ("x" * 5000, r"images: expected a local folder, which cannot be read \(File name too long\), at"),
        ("a\0b", "images: expected a local folder, found none at"),
    ],
)
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str, message: str) -> None:
    fill(tmp_path, "file")
    os.symlink("loop", tmp_path / "loop")
    with pytest.raises(ValueError, match=message):
        local_folder("images", f"{tmp_path}/{name}")


# what is said of classes


@pytest.mark.parametrize(
    ("paths", "notes"),
    [
        (["b/1.png", "a/2.png"], ["Class folders: 2 classes (a, b)."]),
        (["a/1.png"], ["Class folders: 1 class (a)."]),
        ([f"{c}/1.png" for c in "abcdefg"], ["Class folders: 7 classes (a, b, c, d, e, ...)."]),
        (["1.png", "2.png"], [f"No classes: a flat folder. {NO_LABELS}"]),
        (
            ["cover.png", *[f"{c}/{n}.png" for c in "abc" for n in range(3)]],
            [f"No classes: 1 of 10 images lies in no subfolder, cover.png. {NO_LABELS}"],
        ),
        (
            ["a/1.png", "b/notes.txt", "c/"],
            ["Class folders: 1 class (a).", "2 subfolders hold no images and make no class: b, c"],
        ),
    ],
)
def test_a_folder_tells_what_labels_were_found(tmp_path: Path, paths: list[str], notes: list[str]) -> None:
    for path in paths:
        if path.endswith("/"):
            (tmp_path / path).mkdir()
        else:
            fill(tmp_path, path)
    assert list(from_folder(str(tmp_path)).notes) == notes


def test_names_are_told_on_one_line_without_codes_for_terminals(tmp_path: Path) -> None:
    name = "a\n\x1b[31mb" + os.fsdecode(b"\xff")
    fill(tmp_path, f"{name}/1.png", data=picture())
    source = from_folder(str(tmp_path))
    assert source.notes == ("Class folders: 1 class (a\\n\\x1b[31mb\\udcff).",)
    assert source.facts["classes"] == ["a\n\x1b[31mb\\xff"]
