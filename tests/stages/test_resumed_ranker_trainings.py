"""`train-ranker`, stopped, killed or called again: it goes on as if it had not been, or says what differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from ranker_training import Told, ranker_config, train_in_process, weights_of
from scoring import files_of


@pytest.fixture(autouse=True)
def _report_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.train_ranker.REPORT_EVERY", 1)


@pytest.mark.parametrize("stop_at", [1, 3, 5, 10])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    stop_at: int, scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    whole = train_in_process(ranker_config(scene_shards, scores, tmp_path / "whole"))
    config = ranker_config(scene_shards, scores, tmp_path / "parts", checkpoint_every=100)
    with pytest.raises(KeyboardInterrupt):
        train_in_process(config, stop_at)
    assert not (tmp_path / "parts/ranker.json").exists()
    second = train_in_process(config)
    curve = {report.step: report.loss for report in whole.reports()}
    assert [report.step for report in second.reports()] == list(range(stop_at + 1, 12))
    assert all(report.loss == curve[report.step] for report in second.reports())
    assert second.summary().started_at == stop_at
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_a_killed_training_goes_on_from_its_last_checkpoint_with_the_same_result(
    scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    """Killed between a validation and the next checkpoint: the epoch is validated once more."""
    train_in_process(ranker_config(scene_shards, scores, tmp_path / "whole"))
    config = ranker_config(scene_shards, scores, tmp_path / "parts", checkpoint_every=2)

    class Killed(BaseException):
        pass

    class KilledAtStep7(Told):
        def __call__(self, event: object) -> None:
            super().__call__(event)
            if self.reports() and self.reports()[-1].step == 7:
                raise Killed

    from stages.train_ranker import run_train_ranker
    from stages.training.processes import SingleProcess

    with pytest.raises(Killed):
        run_train_ranker(config, SingleProcess(torch.device("cpu")), KilledAtStep7())
    told = train_in_process(config)
    assert told.summary().started_at == 6
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_a_finished_ranker_is_left_alone(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    config = ranker_config(scene_shards, scores, tmp_path / "ranker")
    first = train_in_process(config)
    before = files_of(tmp_path / "ranker")
    again = train_in_process(config)
    assert not again.reports()
    assert again.summary().best == first.summary().best
    assert again.summary().started_at == again.summary().steps
    assert files_of(tmp_path / "ranker") == before


def test_a_training_goes_on_with_the_control_that_it_was_begun_with(
    scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    store = shutil.copytree(scores, tmp_path / "scores")
    config = ranker_config(scene_shards, store, tmp_path / "ranker", control="geometry")
    with pytest.raises(KeyboardInterrupt):
        train_in_process(config, stop_at=2)
    with pytest.raises(ValueError, match="control: 'geometry' in the folder, nothing now"):
        train_in_process(ranker_config(scene_shards, store, tmp_path / "ranker"))
    train_in_process(config)
    train_in_process(ranker_config(scene_shards, store, tmp_path / "whole", control="geometry"))
    resumed, whole = weights_of(tmp_path / "ranker"), weights_of(tmp_path / "whole")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1}, r"seed: 0 in the folder, 1 now"),
        ({"loss": "list_net"}, r"loss: 'list_mle' in the folder, 'list_net' now"),
        ({"width": 32}, r"ranker\.width: 16 in the folder, 32 now"),
        ({"split": "key"}, r"split: 'shard' in the folder, 'key' now"),
    ],
)
def test_other_settings_for_the_same_folder_are_refused(
    settings: dict[str, object], message: str, scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker"), stop_at=1)
    with pytest.raises(ValueError, match="was begun with other settings") as refusal:
        train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", **settings))
    assert message.replace("\\", "") in str(refusal.value)


def test_another_focus_is_another_ranker(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    for top in (None, 2, 3):
        train_in_process(
            ranker_config(scene_shards, scores, tmp_path / f"{top}", loss="focused", focus_top=top, epochs=1)
        )
    weights = [weights_of(tmp_path / name)["head.weight"] for name in ("None", "2", "3")]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("loss", ["list_mle", "focused"])
def test_a_training_that_was_begun_when_focused_looked_at_half_of_each_list_goes_on_unless_it_has_that_loss(
    loss: str, scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    """Settings of that time do not have `focus_top`."""
    config = ranker_config(scene_shards, scores, tmp_path / "ranker", loss=loss)
    with pytest.raises(KeyboardInterrupt):
        train_in_process(config, stop_at=2)
    file = tmp_path / "ranker/training.json"
    settings = json.loads(file.read_text())
    assert settings.pop("focus_top", None) == (2 if loss == "focused" else None)
    file.write_text(json.dumps(settings))
    if loss == "focused":
        with pytest.raises(ValueError, match="focus_top: nothing in the folder, 2 now"):
            train_in_process(config)
    else:
        assert train_in_process(config).summary().started_at == 2


def test_settings_that_were_refused_do_not_stand_in_the_way_of_right_ones(
    scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", batch_size=5, accumulate=2))
    train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", batch_size=6, accumulate=2, epochs=1))


def test_places_threads_and_how_often_it_saves_are_free_to_change_on_the_way(
    scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    whole = train_in_process(ranker_config(scene_shards, scores, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train_in_process(ranker_config(scene_shards, scores, tmp_path / "parts"), stop_at=4)
    moved = {
        name: Path(shutil.move(path, tmp_path / name))
        for name, path in (("t", scene_shards), ("p", tmp_path / "parts"))
    }
    copied = Path(shutil.copytree(scores, tmp_path / "s"))
    other = ranker_config(moved["t"], copied, moved["p"], decode_threads=1, checkpoint_every=3)
    assert train_in_process(other).summary().best == whole.summary().best
    assert files_of(moved["p"]) == files_of(tmp_path / "whole")
