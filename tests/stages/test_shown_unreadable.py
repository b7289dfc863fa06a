"""`show` of images that cannot be read: one of them does not cost the others."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from click.testing import CliRunner, Result
from pictures import encoded, fill

from pipeline.cli import main
from stages.samples.named import ShownImage, UnusableShown
from stages.sources.scenes import draw_scene
from storage.local_files import LocalFiles

PHOTOGRAPH = encoded(draw_scene(0, 0, 40).image)


def show(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["show", *map(str, arguments)])


@pytest.fixture
def _denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called denied.png may not be read: by their mode alone, root may read them."""
    opened = LocalFiles.open

    def open_allowed(self: LocalFiles, path: str = "") -> BinaryIO:
        if f"{self.root}/{path}".rstrip("/").endswith("denied.png"):
            raise PermissionError(errno.EACCES, "Permission denied", f"{self.root}/{path}".rstrip("/"))
        return opened(self, path)

    monkeypatch.setattr(LocalFiles, "open", open_allowed)


@pytest.mark.usefixtures("_denied")
def test_images_that_cannot_be_read_are_named_and_the_others_are_shown(tmp_path: Path, small_ranker: Path):
    folder = fill(tmp_path / "photographs", "a.png", "c.png", "denied.png", data=PHOTOGRAPH)
    os.mkfifo(folder / "b.png")  # nobody writes to it
    (folder / "link.png").symlink_to("nowhere")
    out = tmp_path / "out.png"
    result = show(folder, "--ranker", small_ranker, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out}: 2 images\n" in result.output
    for name, reason in (
        ("b.png", "expected a plain file, got a pipe or a device"),
        ("denied.png", "Permission denied"),
        ("link.png", "no such file"),
    ):
        assert f"skipped: {folder}/{name}: {reason}\n" in result.output


@pytest.mark.usefixtures("_denied")
def test_the_only_image_is_refused_if_it_cannot_be_read(tmp_path: Path, small_ranker: Path):
    fill(tmp_path, "denied.png", data=PHOTOGRAPH)
    for shown in (tmp_path / "denied.png", tmp_path):
        result = show(shown, "--ranker", small_ranker, "--out", tmp_path / "more/out.png")
        assert result.exit_code == 1
        assert result.output == f"Error: {tmp_path}/denied.png: Permission denied\n"


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files", "a.png"), OSError("s3://b/a.png: 503")])
def test_what_is_not_the_fault_of_an_image_is_not_taken_for_it(error: OSError):
    def read() -> Any:
        raise error

    with pytest.raises(OSError, match=r"a\.png") as caught:
        ShownImage("a.png", "a.png", "a", read).decode()
    assert not isinstance(caught.value, UnusableShown)
