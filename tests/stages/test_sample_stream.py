"""The stream of samples to train on: complete, shuffled, the same from wherever it is entered."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest

from stages.samples import order
from stages.samples.order import shuffled_samples
from stages.samples.stream import SampleStream, measured
from storage.locations import LocalFiles
from storage.shard_files import Sample, ShardReader, read_shard, write_shard
from storage.shard_index import ShardEntry

SIZES = (5, 7, 4)
TOTAL = sum(SIZES)


@pytest.fixture
def shards(tmp_path: Path) -> list[ShardEntry]:
    place = LocalFiles(tmp_path)
    return [
        write_shard(place, f"{shard}.tar", [(f"{shard}-{i}", {"txt": b"%d" % i}) for i in range(size)])
        for shard, size in enumerate(SIZES)
    ]


@pytest.fixture(params=["kept", "streamed"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, shards: list[ShardEntry]) -> str:
    """Both ways of reading: all samples kept in memory, or in blocks of two to a lane."""
    if request.param == "streamed":
        average = sum(shard.filesize or 0 for shard in shards) / TOTAL
        monkeypatch.setattr(order, "KEPT_BYTES", 0)
        monkeypatch.setattr(order, "BLOCK_BYTES", int(6.5 * average))
    return request.param


def keys(shards: list[ShardEntry], n: int, *, seed: int = 0, start: int = 0) -> list[tuple[int, str]]:
    stream: Any = shuffled_samples(shards, read_shard, seed=seed, start=start)
    found = [(epoch, sample.key) for epoch, sample in islice(stream, n)]
    stream.close()
    return found


@pytest.mark.usefixtures("memory")
def test_each_epoch_holds_every_sample_once_in_another_order(shards: list[ShardEntry]) -> None:
    stream = keys(shards, 3 * TOTAL)
    epochs = [[key for epoch, key in stream if epoch == number] for number in range(3)]
    everything = {f"{shard}-{i}" for shard, size in enumerate(SIZES) for i in range(size)}
    assert [len(epoch) for epoch in epochs] == [TOTAL] * 3
    assert all(set(epoch) == everything for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.usefixtures("memory")
def test_the_seed_decides_the_order(shards: list[ShardEntry]) -> None:
    assert keys(shards, TOTAL) == keys(shards, TOTAL)
    assert keys(shards, TOTAL) != keys(shards, TOTAL, seed=1)


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("start", [1, 5, 6, 11, TOTAL - 1, TOTAL, TOTAL + 7, 5 * TOTAL + 3])
def test_a_stream_entered_in_its_middle_goes_on_as_if_read_from_its_beginning(
    shards: list[ShardEntry], start: int
) -> None:
    assert keys(shards, 20, start=start) == keys(shards, start + 20)[start:]


def opened_by(shards: list[ShardEntry], n: int, **entered: int) -> list[str]:
    """The tars that are opened for `n` samples."""
    opened: list[str] = []

    def read(shard: ShardEntry) -> ShardReader:
        opened.append(shard.name)
        return read_shard(shard)

    stream: Any = shuffled_samples(shards, read, seed=0, **entered)
    list(islice(stream, n))
    stream.close()
    return opened


def test_tars_before_the_block_that_is_entered_are_not_opened(
    shards: list[ShardEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "KEPT_BYTES", 0)
    monkeypatch.setattr(order, "BLOCK_BYTES", 1)  # blocks of one sample
    monkeypatch.setattr(order, "LANES", 1)  # so that tars come one after another
    in_turn = list(dict.fromkeys(key.split("-")[0] for _, key in keys(shards, TOTAL)))
    last = SIZES[int(in_turn[-1])]
    assert opened_by(shards, 1, start=TOTAL - last)[0] == in_turn[-1]


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_processes_that_share_a_stream_share_the_reading_of_tars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    monkeypatch.setattr(order, "KEPT_BYTES", 0)
    shards = [
        write_shard(LocalFiles(tmp_path), f"{shard}.tar", [(f"{shard}-{i}", {"txt": b""}) for i in range(6)])
        for shard in range(16)
    ]
    opened = [opened_by(shards, 6 * 16 // parts, part=part, parts=parts) for part in range(parts)]
    assert sorted(chain(*opened)) == sorted(shard.name for shard in shards)
    assert {len(each) for each in opened} == {16 // parts}


def test_tars_without_an_index_are_counted(shards: list[ShardEntry]) -> None:
    bare = measured([ShardEntry(shard.url) for shard in shards])
    assert [shard.nsamples for shard in bare] == list(SIZES)
    assert keys(bare, 30) == keys(shards, 30)


def number_of(sample: Sample, epoch: int) -> str:
    return f"{epoch}:{sample.key}"


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("start", [0, 1, 4, 9])
def test_batches_start_anywhere(shards: list[ShardEntry], start: int) -> None:
    def batches(first: int, n: int) -> list[list[str]]:
        stream = SampleStream(shards, read_shard, number_of, seed=3, threads=2).batches(5, first)
        found = list(islice(stream, n))
        stream.close()
        return found

    assert batches(start, 4) == batches(0, start + 4)[start:]


def test_unusable_samples_are_left_out_of_their_batch_and_named(shards: list[ShardEntry]) -> None:
    def prepare(sample: Sample, epoch: int) -> str:
        if sample.key in ("0-1", "2-3"):
            raise ValueError("truncated")
        return sample.key

    stream = SampleStream(shards, read_shard, prepare, seed=0, threads=2)
    (epoch,) = islice(stream.batches(TOTAL), 1)
    assert len(epoch) == TOTAL - 2
    assert stream.left_out == {"0-1": "truncated", "2-3": "truncated"}


def test_samples_passed_over_on_purpose_are_not_reported(shards: list[ShardEntry]) -> None:
    def prepare(sample: Sample, epoch: int) -> str | None:
        return sample.key if sample.key == "1-1" else None

    stream = SampleStream(shards, read_shard, prepare, seed=0, threads=1)
    assert list(islice(stream.batches(3), 4)) == [["1-1"]] * 4  # batches without a sample are given the next one's
    assert stream.left_out == {}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_when_nothing_can_be_used_the_stream_ends_with_the_reasons(shards: list[ShardEntry], size: int) -> None:
    def prepare(sample: Sample, epoch: int) -> str:
        raise ValueError("zero bytes")

    with pytest.raises(ValueError, match=r"0\.tar and 2 more: none of 16 samples can be used; 0-0: zero bytes"):
        next(SampleStream(shards, read_shard, prepare, seed=0, threads=2).batches(size))


def test_empty_tars_are_refused(tmp_path: Path) -> None:
    empty = write_shard(LocalFiles(tmp_path), "empty.tar", [])
    with pytest.raises(ValueError, match=r"empty\.tar: expected samples"):
        SampleStream([empty], read_shard, number_of, seed=0, threads=1)


@pytest.mark.usefixtures("memory")
def test_a_damaged_tar_ends_the_stream_with_its_name(shards: list[ShardEntry]) -> None:
    path = Path(shards[1].url)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ValueError, match=r"1\.tar"):
        list(islice(SampleStream(shards, read_shard, number_of, seed=0, threads=2).batches(4), 8))


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("parts", [2, 3])
def test_processes_that_share_a_stream_see_together_what_one_sees_alone(shards: list[ShardEntry], parts: int) -> None:
    def first(n: int, start: int, size: int, part: int, parts: int) -> list[list[str]]:
        stream = SampleStream(shards, read_shard, number_of, seed=3, threads=2)
        batches = stream.batches(size, start, part=part, parts=parts)
        found = list(islice(batches, n))
        batches.close()
        return found

    alone = first(6, 0, 4 * parts, 0, 1)
    for start in (0, 2):
        shared = [first(6 - start, start, 4, part, parts) for part in range(parts)]
        together = [sorted(chain(*batches)) for batches in zip(*shared, strict=True)]
        assert together == [sorted(batch) for batch in alone[start:]]


def test_what_is_wrong_behind_the_last_sample_of_a_tar_is_told_before_the_next_epoch(
    shards: list[ShardEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "KEPT_BYTES", 0)
    path = Path(shards[0].url)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"0\.tar"):
        keys(shards, TOTAL + 1)
