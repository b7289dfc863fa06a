"""Running `shard` again: what its plan and receipts tell, when these or the tars are damaged, and when another runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pictures import fill, picture
from repository import ROOT

from pipeline.cli import main
from stages.settings.shard import ShardConfig
from stages.shard import ShardSummary, run_shard
from storage.driver_lock import DriverLock, StoreBusy
from storage.locations import locate

SETTINGS: dict[str, Any] = {"scenes": 6, "scene_size": 48, "shard_size": 3, "name": "t"}


def shard(out: Path, *, verify: bool = False, **settings: Any) -> tuple[ShardSummary, list[tuple[str, dict[str, Any]]]]:
    events: list[tuple[str, dict[str, Any]]] = []
    config = ShardConfig(out=str(out), **(settings or SETTINGS))
    return run_shard(config, lambda *event: events.append(event), verify=verify), events


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with two tars of three scenes."""
    shard(tmp_path / "out")
    return tmp_path / "out"


def flip_a_bit(path: Path, *, keep_time: bool) -> None:
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    later = times.st_mtime_ns + (0 if keep_time else 10**10)
    os.utime(path, ns=(times.st_atime_ns, later))


# damaged tars


def test_a_tar_that_was_written_to_since_it_was_made_is_made_again(made: Path) -> None:
    before = contents(made)
    flip_a_bit(made / "t-000000.tar", keep_time=False)
    summary, events = shard(made)
    assert summary.written == 1
    assert ("verified", {"name": "t-000000.tar", "whole": False}) in events
    assert contents(made) == before


def test_verify_finds_a_tar_that_rotted_on_its_disk(made: Path) -> None:
    before = contents(made)
    flip_a_bit(made / "t-000000.tar", keep_time=True)
    assert shard(made)[0].written == 0, "reading all tars each time would take long"
    summary, events = shard(made, verify=True)
    assert summary.written == 1
    verified = [facts for event, facts in events if event == "verified"]
    assert verified == [{"name": "t-000000.tar", "whole": False}, {"name": "t-000001.tar", "whole": True}]
    assert contents(made) == before


def test_a_tar_that_is_newer_than_its_receipt_is_read_once(made: Path) -> None:
    later = time.time_ns() - 10**9  # as after a copy that keeps no times
    os.utime(made / "sharding" / "t-000000.json", ns=(later - 10**9, later - 10**9))
    os.utime(made / "t-000000.tar", ns=(later, later))
    first, second = shard(made), shard(made)
    assert [len([event for event, _ in events if event == "verified"]) for _, events in (first, second)] == [1, 0]
    assert first[0].written == second[0].written == 0


def test_verify_works_in_an_object_store() -> None:
    pytest.importorskip("obstore")
    out = "memory://verified/train"
    config = ShardConfig(out=out, **SETTINGS)
    run_shard(config, lambda *_: None)
    place = locate(out)
    data = bytearray(place.read("t-000001.tar"))
    data[700] ^= 1
    place.write("t-000001.tar", bytes(data))
    assert run_shard(config, lambda *_: None).written == 0
    assert run_shard(config, lambda *_: None, verify=True).written == 1
    assert place.read("t-000001.tar") != bytes(data)


def test_verify_takes_images_that_can_be_read_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"images": str(fill(tmp_path / "images", "a.png", "b.png")), "name": "t"}
    real = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == "b.png":
            raise OSError(5, "Input/output error")
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        summary, _ = shard(tmp_path / "out", **settings)
        assert [(each.path, each.reason) for each in summary.left_out] == [
            ("b.png", "cannot be read: Input/output error")
        ]
        assert shard(tmp_path / "out", verify=True, **settings)[0].written == 0
    assert shard(tmp_path / "out", **settings)[0].samples == 1
    assert shard(tmp_path / "out", verify=True, **settings)[0].samples == 2


def test_a_tar_of_an_earlier_version_with_wrong_objects_is_told_and_verify_makes_it_again(tmp_path: Path) -> None:
    fill(tmp_path / "images", "a.png")
    annotation = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
        "annotations": [annotation, {**annotation, "bbox": [9, 9, -1, -1]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    coco = str(tmp_path / "coco.json")
    settings: dict[str, Any] = {"images": str(tmp_path / "images"), "coco": coco, "name": "t"}
    out = tmp_path / "out"
    assert len(shard(out, **settings)[0].skipped_objects) == 1
    receipt = out / "sharding" / "t-000000.json"
    assert json.loads(receipt.read_text())["skipped_objects"] == 1
    receipt.write_text(json.dumps({k: v for k, v in json.loads(receipt.read_text()).items() if k != "skipped_objects"}))
    told = "1 tar of an earlier version holds objects that are skipped now; --verify makes them again: "
    summary, _ = shard(out, **settings)
    assert summary.notes[-1] == f"{told}t-000000.tar"
    assert (summary.written, shard(out, verify=True, **settings)[0].written) == (0, 1)
    assert told not in str(shard(out, **settings)[0].notes)


# damaged notes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a JSON object, got an empty file"),
        (b"{", "expected a JSON object, got something else"),
        (b"[1]", "expected a JSON object, got a list"),
        (b"\xff", "expected a JSON object, got bytes that are not UTF-8"),
        (b"[" * 100_000, "expected a JSON object, got JSON that is nested too deeply"),
    ],
    ids=lambda value: str(value[:9]),
)
@pytest.mark.parametrize("name", ["plan.json", "t-000001.json"])
def test_a_plan_or_receipt_that_is_no_object_is_refused_by_name(
    made: Path, name: str, data: bytes, message: str
) -> None:
    (made / "sharding" / name).write_bytes(data)
    before = contents(made)
    with pytest.raises(ValueError, match=re.escape(f"{made}/sharding/{name}: {message}")) as raised:
        shard(made)
    assert "\n" not in str(raised.value)
    assert ("give another --out" if name == "plan.json" else "delete this file") in str(raised.value)
    assert contents(made) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.clear(), "not the receipt of a tar: entry: expected a value, got none"),
        (lambda r: r.update(entry=[]), "not the receipt of a tar: entry: expected an object, got []"),
        (lambda r: r.update(left_out=[3]), "left_out.0: expected an object, got 3"),
        (lambda r: r["entry"].update(nsamples="3"), "entry.nsamples: expected a valid integer"),
        (lambda r: r["entry"].update(filesize=-1), "entry.filesize: expected at least 0, got -1"),
        (lambda r: r["entry"].update(md5sum="x"), "entry.md5sum: expected text that matches ^[0-9a-f]{32}$, got 'x'"),
        (
            lambda r: r["entry"].update(url="t-000000.tar"),
            "expected the receipt of t-000001.tar, got that of 't-000000.tar'",
        ),
        (
            lambda r: r["entry"].update(nsamples=2),
            "sample counts do not add up: expected 3 images, got 2 samples and 0 images skipped",
        ),
        (
            lambda r: (r["entry"].update(nsamples=2), r["left_out"].append({"path": "other.png", "reason": "?"})),
            "sample counts do not add up: expected 3 images, got 2 samples and 1 image skipped",
        ),
    ],
)
def test_a_receipt_that_cannot_be_right_is_refused_by_name_and_verify_makes_its_tar_again(
    made: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    before = contents(made)
    path = made / "sharding" / "t-000001.json"
    receipt = json.loads(path.read_text())
    change(receipt)
    path.write_text(json.dumps(receipt))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}"):
        shard(made)
    assert shard(made, verify=True)[0].written == 1
    assert contents(made) == before


def test_a_plan_of_a_version_that_did_not_know_a_setting_is_gone_on_with_if_it_has_its_default(made: Path) -> None:
    path = made / "sharding" / "plan.json"
    plan = json.loads(path.read_text())
    del plan["max_side"]
    path.write_text(json.dumps(plan))
    assert shard(made)[0].written == 0
    with pytest.raises(ValueError, match="max_side: None then, 20 now"):
        shard(made, **SETTINGS, max_side=20)


# two runs at once


def test_a_second_run_to_the_same_folder_is_refused_while_the_first_works(tmp_path: Path) -> None:
    out, refusals = tmp_path / "out", []

    def run_another(event: str, facts: dict[str, Any]) -> None:
        if event == "shard":
            for verify in (False, True):
                with pytest.raises(StoreBusy, match=r"out/sharding: another driver works on it: process \d+") as raised:
                    shard(out, verify=verify)
                refusals.append(raised)

    summary = run_shard(ShardConfig(out=str(out), **SETTINGS), run_another)
    assert (summary.written, len(refusals)) == (2, 4)
    assert shard(out)[0].written == 0


def test_a_run_that_another_took_over_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, locks = tmp_path / "out", []

    class NotedLock(DriverLock):
        def __enter__(self) -> NotedLock:
            locks.append(self)
            super().__enter__()
            return self

    def take_over(event: str, facts: dict[str, Any]) -> None:
        if event == "shard":
            (lock,) = locks
            lock.lost = True  # as its renewals tell it

    monkeypatch.setattr("stages.shard.DriverLock", NotedLock)
    with pytest.raises(ConnectionError, match=f"^{out}: another run took over; this one stops$"):
        run_shard(ShardConfig(out=str(out), **SETTINGS), take_over)
    assert len(list(out.glob("sharding/t-*.json"))) == 1
    assert shard(out)[0].written == 1


def test_a_finished_folder_is_told_of_though_another_works_on_it(made: Path) -> None:
    with DriverLock(locate(made).child("sharding")):
        assert shard(made)[0].samples == 6


def test_a_finished_folder_needs_no_permission_to_write(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(locate(made)), "writer", None)
    monkeypatch.setattr(type(locate(made)), "create", None)
    assert shard(made)[0].samples == 6


def test_a_run_that_was_killed_does_not_stand_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import os, signal, sys; sys.modules['torch'] = None\n"
        "from stages.settings.shard import ShardConfig\n"
        "from stages.shard import run_shard\n"
        f"config = ShardConfig(out={str(out)!r}, **{SETTINGS!r})\n"
        "run_shard(config, lambda event, facts: event == 'shard' and os.kill(os.getpid(), signal.SIGKILL))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert list(out.glob("sharding/books/drivers/*.json"))
    assert shard(out)[0].written == 1
    assert not list(out.glob("sharding/books/drivers/*.json"))


# the command


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["shard", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_command_tells_source_classes_reasons_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = fill(tmp_path / "images", "a/1.png", "a/2.png", "b/3.png")
    fill(images, "a/empty.png", "a/also empty.png", data=b"")
    fill(images, "b/small\x1b[31m.png", data=picture(8, 8))
    fill(images, "notes.txt")
    status, printed = run("--images", images, "--out", "my shards")
    assert status == 0
    assert "Class folders: 2 classes (a, b)." in printed
    assert "3 of 6 images are in 1 tar (1 new)." in printed
    assert "3 images were skipped; " in printed
    assert "  a/also empty.png (and 1 other): zero bytes\n" in printed
    assert "  b/small\\x1b[31m.png: too small: 8x8, expected sides of at least 16\n" in printed
    assert "1 other file is no image by name." in printed
    assert "--shards 'my shards'" in printed
    assert "\x1b" not in printed


def test_the_command_makes_a_damaged_tar_again(made: Path) -> None:
    settings = ["--scenes", "6", "--scene-size", "48", "--shard-size", "3", "--name", "t", "--out", str(made)]
    flip_a_bit(made / "t-000000.tar", keep_time=True)
    assert "(0 new)" in run(*settings)[1]
    status, printed = run(*settings, "--verify")
    assert status == 0
    assert "t-000000.tar is damaged: its bytes are not those that its receipt tells of" in printed
    assert "(1 new)" in printed


def test_the_command_tells_wrong_objects(tmp_path: Path) -> None:
    fill(tmp_path / "images", "a.png", "b.png")
    annotation = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    wrong = [{**annotation, "id": 7, "bbox": [9, 9, -1, 4]}, {**annotation, "id": 8, "image_id": 5}]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
        "annotations": [annotation, *wrong],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    status, printed = run("--images", tmp_path / "images", "--coco", tmp_path / "coco.json", "--out", tmp_path / "out")
    assert status == 0
    assert "COCO annotations: 2 categories, 1 object." in printed
    assert "2 categories have the name cat and stay 2: ids 1, 2" in printed
    assert "1 image of the folder is not in coco.json, and so in no tar: b.png" in printed
    assert "2 objects were skipped; " in printed
    assert "  annotations.1 (id 7) of a.png: bbox.2: expected at least 0, got -1.0\n" in printed
    assert "  annotations.2 (id 8) of no image: image_id: expected the id of an image, got 5\n" in printed


def test_an_output_that_is_a_loop_of_links_is_a_message(tmp_path: Path) -> None:
    os.symlink("loop", tmp_path / "loop")
    status, printed = run("--images", fill(tmp_path / "images", "a.png"), "--out", tmp_path / "loop")
    assert status == 1
    assert "loop" in printed
    assert "Traceback" not in printed
