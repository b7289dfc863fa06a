"""Runs on tars of which little can be used: skipped, counted and told, and a run without a sample is no success."""

from __future__ import annotations

from pathlib import Path

import pytest
from untrusted_tars import PICTURE, call, rank, write_tar

from storage import shard_files
from storage.patch_store import PatchStore
from storage.ranks import CONTENT
from storage.shard_index import ShardEntry


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (
            {"0001.image.jpg": PICTURE, "0002.image.jpg": PICTURE},
            "the sample holds image.jpg; an image is named KEY.jpg",
        ),
        ({"0001.img": PICTURE}, "found 0: the sample holds img; an image is named KEY.jpg"),
        ({"img.v1.0001.jpg": PICTURE, "img.v1.0002.jpg": PICTURE}, "v1.0002.jpg; an image is named KEY.jpg"),
        ({"0001.cls": b"1"}, "found 0: the sample holds cls"),
        ({"0001.jpg": b"no image"}, "1 sample skipped: "),
    ],
)
def test_a_run_that_could_use_no_sample_is_no_success_nor_is_the_next_one(
    tmp_path: Path, small_ranker: Path, members: dict[str, bytes], reason: str
) -> None:
    tar = write_tar(tmp_path / "tars/a.tar", members)
    first = rank(tar, small_ranker)
    assert first.exit_code == 1
    assert reason in first.output
    again = rank(tar, small_ranker)
    assert (again.exit_code, "(0 in this run)" in again.output) == (1, True)
    for result in (first, again):
        assert f"Error: not one sample of 1 shard can be used, so that {tmp_path}/out holds nothing" in result.output
        assert "Next:" not in result.output
    assert reason.removeprefix("1 sample skipped: ") in call("status", "out").output


def test_a_run_that_could_use_some_samples_is_a_success_and_so_is_the_next_one(
    tmp_path: Path, small_ranker: Path
) -> None:
    write_tar(tmp_path / "tars/a.tar", {"0001.image.jpg": PICTURE})
    write_tar(tmp_path / "tars/b.tar", {"0002.jpg": PICTURE, "0003.jpg": b"no image"})
    for _ in range(2):
        result = rank(tmp_path / "tars", small_ranker)
        assert (result.exit_code, "Next: ltrp-pipeline verify" in result.output) == (0, True)


def test_codes_for_terminals_and_endless_names_reach_no_one(tmp_path: Path, small_ranker: Path) -> None:
    codes = {"k.\x1b]0;title\x07\x1b[31mfoo": b"x", "\x1b[2J.jpg": b"x", "g.jpg": PICTURE}
    write_tar(tmp_path / "tars/a.tar", codes | {f"m.f{number:06d}": b"x" for number in range(3000)})
    result = rank(tmp_path / "tars", small_ranker)
    assert result.exit_code == 0
    assert r"\x1b]0;title\x07\x1b[31mfoo" in result.output
    told = call("status", "out", "--left-out")
    assert r"a \x1b[2J: " in told.output
    assert max(map(len, [*result.output.splitlines(), *told.output.splitlines()])) < 300
    record = PatchStore.open("out", CONTENT).books.record("a")
    assert max(len(each.reason) for each in record.left_out) <= 200


def test_a_reason_for_each_sample_makes_few_lines(tmp_path: Path, small_ranker: Path) -> None:
    members = {f"{number}.field_{number}": b"x" for number in range(300)}
    write_tar(tmp_path / "tars/a.tar", {**members, "g.jpg": PICTURE})
    assert rank(tmp_path / "tars", small_ranker).output.count("\n") < 40
    told = call("status", "out")
    assert told.output.count("\n") < 40
    assert "skipped   280 x other reasons" in told.output


@pytest.mark.parametrize("limits", [{"MOST_FIELDS": 3}, {"MOST_BYTES": 4}])
def test_a_sample_that_would_fill_the_memory_is_skipped_and_those_around_it_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(shard_files, name, value)
    members = {"a.jpg": b"a", **{f"m.{number}.jpg": b"m" for number in range(5)}, "z.jpg": b"z"}
    one, many, last = shard_files.read_shard(ShardEntry(str(write_tar(tmp_path / "a.tar", members))))
    assert (one.image, last.image) == (b"a", b"z")
    assert not any(many.fields.values())
    with pytest.raises(ValueError, match=r"^expected one image, got 5 fields of 5 bytes: the sample holds 0\.jpg"):
        _ = many.image
