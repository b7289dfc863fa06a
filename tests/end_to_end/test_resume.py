"""A run that dies at any write, or is killed, and is run again gives, bit for bit, the store of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed_commands import IN_PROCESS, assert_killed_twice_and_run_again_it_gives_the_same_store
from scoring import files_of, score_config, score_in_process

from stages.settings.score import ScoreConfig
from storage.locations import LocalFiles


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


def test_dying_at_any_write_and_running_again_gives_the_same_store(
    scene_shards: Path, small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_tars = scene_shards / "scenes-00000[03].tar"

    def config(out: Path) -> ScoreConfig:
        return score_config(two_tars, small_mae, out, masks=4)

    score_in_process(config(tmp_path / "undisturbed"))
    undisturbed = files_of(tmp_path / "undisturbed")
    write, create = LocalFiles.write, LocalFiles.create
    left = 0

    def die_when_it_is_time(place: LocalFiles, path: str, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            target = place.local_path(path)  # as far as a killed writer gets
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(f".{target.name}.dead.tmp").write_bytes(data[: len(data) // 2])
            raise Killed

    def dying_write(place: LocalFiles, path: str, data: bytes) -> None:
        die_when_it_is_time(place, path, data)
        write(place, path, data)

    def dying_create(place: LocalFiles, path: str, data: bytes) -> str | None:
        die_when_it_is_time(place, path, data)
        return create(place, path, data)

    monkeypatch.setattr(LocalFiles, "write", dying_write)
    monkeypatch.setattr(LocalFiles, "create", dying_create)
    deaths = 0
    while left <= 0:  # until a run outlives its time
        out = tmp_path / f"scores-{deaths}"
        left = deaths + 1
        try:
            score_in_process(config(out))
        except Killed:
            deaths += 1
            score_in_process(config(out))
            assert files_of(out) == undisturbed, f"after dying at write {deaths}"
    assert deaths > 20


def test_a_command_killed_twice_and_run_again_gives_the_same_store(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    assert_killed_twice_and_run_again_it_gives_the_same_store(scene_shards, small_mae, tmp_path, *IN_PROCESS)
