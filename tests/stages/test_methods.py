"""`rank --method`: every method through the same engine, into stores that everything downstream takes; and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from ranking_runs import rank_config, rank_in_process
from scoring import files_of, score_config, score_in_process
from vit_methods import write_task

from pipeline.cli import main
from stages.comparison.result import read_result
from stages.images.decoding import decode_image
from stages.images.views import View, render
from stages.methods.load_method import load_method
from stages.methods.tome import TokenMerging
from stages.ranking.load_ranker import load_ranker
from stages.samples.ranked import selector_name
from stages.samples.sample_view import SampleView
from stages.settings.choices import DEFAULT_RANKER
from storage.dense_scores import PatchGrid, open_dense, patch_grid
from storage.locations import locate
from storage.ranks import read_ranks
from storage.shard_files import read_shard
from storage.shard_index import expand_shards

GRID = {"image_size": 32, "patch_size": 8}
NEEDS: dict[str, dict[str, Any]] = {
    "grad-cam": {"model": "task"},
    "attention": {"model": "task"},
    "attention-dino": {"model": "task"},
    "tome": {"model": "task"},
    "dpc-knn": GRID,
    "gradient": GRID,
    "contrast": GRID,
    "random": GRID,
    "centre": GRID,
    "mae": {"scores": "scores"},
}
"""Of each method what it is given here; folders below `given`."""


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No time spent on flushing files and on narrow intervals; and no pipeline.yaml here."""
    monkeypatch.setattr("stages.tasks.covered.RESAMPLES", 20)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, _drawn_scenes: Path, small_mae: Path) -> Path:
    """Folders: a model of classify, and scores of three views of all scenes."""
    folder = tmp_path_factory.mktemp("given")
    write_task(folder / "task")
    score_in_process(score_config(_drawn_scenes, small_mae, folder / "scores", views=3))
    return folder


def asked(method: str, given: Path, **settings: Any) -> dict[str, Any]:
    needed = {name: str(given / value) if isinstance(value, str) else value for name, value in NEEDS[method].items()}
    return {"method": method, **needed, **settings}


def call(*words: Any) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def flags(**values: Any) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def call_rank(shards: Path, out: Path, **settings: Any) -> Result:
    return call("rank", *flags(shards=shards, out=out, executor="in-process", **settings))


@pytest.mark.parametrize("method", NEEDS)
def test_every_stored_score_is_the_methods_of_the_stored_view_and_comes_in_its_order(
    method: str, given: Path, scene_shards: Path, tmp_path: Path
) -> None:
    (entry,) = expand_shards([str(scene_shards / "scenes-000003.tar")])
    config = rank_config(Path(entry.url), None, tmp_path / "ranks", **asked(method, given, views=2, batch_size=4))
    store, outcome = rank_in_process(config)
    assert (outcome.done, outcome.failures) == (1, [])
    loaded = load_method(method, config)
    stored = read_ranks(store, entry.name)
    assert stored.score.shape == (3, 2, 16)
    for row, sample in enumerate(read_shard(entry)):
        for number in range(2):
            left, top, width, height = map(int, stored.box[row, number])
            view = View(left, top, width, height, bool(stored.flip[row, number]))
            pixels = render(decode_image(sample.image), view, 32).copy()
            with torch.no_grad():
                images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
                expected = loaded.score(images, [SampleView(entry.name, sample.key, number, view)])[0].float().numpy()
            np.testing.assert_allclose(stored.score[row, number], expected, rtol=2**-11 + 1e-4, atol=1e-6)


@pytest.mark.parametrize("method", NEEDS)
def test_the_command_makes_a_store_that_verify_status_and_coverage_take_and_again_has_nothing_to_do(
    method: str, given: Path, scene_shards: Path, tmp_path: Path
) -> None:
    shard, out = scene_shards / "scenes-000003.tar", tmp_path / "ranks"
    first = call_rank(shard, out, **asked(method, given))
    assert first.exit_code == 0, first.output
    assert first.output.startswith(f"1 shard, {method}, ")
    assert " 16 patches, " in first.output
    store = open_dense(str(out))
    assert patch_grid(store) == PatchGrid(32, 8)
    assert (selector_name(store), store.settings["method.name"], store.settings["selector"]) == (method, method, method)
    has_model = "model" in NEEDS[method]
    assert (store.settings["precision"], "model.weights" in store.settings) == (
        "fp32" if has_model else None,
        has_model,
    )
    assert "1 of 1 shard is whole, 0 damaged, 0 missing" in call("verify", out).output
    assert "3 ranked, 0 skipped" in call("status", out).output
    before = files_of(out)
    assert "1 of 1 shard is done (0 in this run)" in call_rank(shard, out, **asked(method, given)).output
    assert files_of(out) == before
    covered = call("coverage", *flags(shards=shard, ranks=out, out="covered", keep_ratio=0.5, select="topk"))
    assert covered.exit_code == 0, covered.output
    assert read_result(locate(tmp_path / "covered/topk-0.5-seed0"), "result.json").selector == method


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


def test_a_run_that_dies_and_is_run_again_gives_the_same_store(
    given: Path, scene_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = asked("tome", given, batch_size=2)
    rank_in_process(rank_config(scene_shards, None, tmp_path / "undisturbed", **settings))
    config = rank_config(scene_shards, None, tmp_path / "ranks", **settings)
    score, left = TokenMerging.score, 3

    def dying(self: TokenMerging, images: torch.Tensor, views: list[SampleView]) -> torch.Tensor:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return score(self, images, views)

    with monkeypatch.context() as patch:
        patch.setattr(TokenMerging, "score", dying)
        with pytest.raises(Killed):
            rank_in_process(config)
    _, outcome = rank_in_process(config)
    assert (outcome.done_before, outcome.done) == (1, 3)
    assert files_of(tmp_path / "ranks") == files_of(tmp_path / "undisturbed")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("method", ["grad-cam", "attention", "attention-dino", "tome"])
def test_methods_that_look_through_a_model_compute_in_other_precisions_too(
    method: str, precision: str, given: Path, scene_shards: Path, tmp_path: Path
) -> None:
    shard = scene_shards / "scenes-000003.tar"
    store, outcome = rank_in_process(
        rank_config(shard, None, tmp_path / "ranks", **asked(method, given, precision=precision))
    )
    assert (outcome.done, outcome.failures) == (1, [])
    assert store.settings["precision"] == precision


def test_the_settings_of_ltrp_are_what_they_were_before_there_were_others(
    scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    rank_in_process(rank_config(scene_shards / "scenes-000003.tar", small_ranker, tmp_path / "ranks"))
    settings = json.loads((tmp_path / "ranks/zarr.json").read_text())["attributes"]["ltrp_pipeline"]["settings"]
    architecture = ["image_size", "patch_size", "width", "depth", "heads", "head", "norm_eps"]
    views = ["views", "views.crop", "views.scale", "seed"]
    assert list(settings) == [
        *("method", "ranker.weights", *(f"ranker.{name}" for name in architecture), "patches", *views),
        *("precision", "preprocessing", "least_bits"),
    ]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"method": "grad-cam"}, "--method grad-cam: expected --model, a classifier: a folder of train-task classify, "),
    ({"method": "tome"}, "--method tome: expected --model, a vision transformer: a folder of train-task, "),
    ({"method": "mae"}, "--method mae: expected --scores, a store of score; got none"),
    (
        {"method": "mae", "scores": "s", **GRID},
        "--method mae: expected no --image-size, which it has no use for; got 32",
    ),
    ({"method": "random", "ranker": "r"}, "--method random: expected no --ranker, which it has no use for; got "),
    (
        {"method": "random", "model": "timm:x"},
        "--method random: expected no --model, which it has no use for; got timm:x",
    ),
    ({"model": "m"}, "--method ltrp: expected no --model, which it has no use for; got "),
    ({"patch_size": 8}, "--method ltrp: expected no --patch-size, which it has no use for; got 8"),
    ({"method": "dpc-knn", "patch_size": 9}, "--image-size: expected a multiple of the patch size 9, got 112"),
    ({"method": "attention", "model": "none"}, "none: no vision transformer there: expected a folder of train-task, "),
    ({"method": "mae", "scores": "none"}, "none: no store of scores there"),
]


def assert_refused(result: Result, expected: str) -> None:
    """In one line."""
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert expected in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(("settings", "expected"), REFUSED, ids=[expected[:40] for _, expected in REFUSED])
def test_a_method_without_what_it_needs_or_with_what_it_does_not_is_refused_in_a_line_before_anything_is_made(
    settings: dict[str, Any], expected: str, scene_shards: Path, tmp_path: Path
) -> None:
    result = call_rank(scene_shards, tmp_path / "ranks", **settings)
    assert_refused(result, expected)
    assert not (tmp_path / "ranks").exists()


def test_weights_of_another_method_and_a_classifier_of_another_grid_are_refused(
    given: Path, small_ranker: Path, scene_shards: Path, tmp_path: Path
) -> None:
    task = given / "task"
    for settings, expected in (
        ({"method": "ltrp", "ranker": task}, f"{task}: no ranker there: expected a folder with ranker.json"),
        ({"method": "grad-cam", "model": small_ranker}, "--method grad-cam: expected a classifier, got "),
        ({"method": "grad-cam", "model": task, "image_size": 64}, "--image-size: expected 32, as "),
        ({"method": "mae", "scores": task}, f"{task}: no store of scores there"),
    ):
        assert_refused(call_rank(scene_shards, tmp_path / "ranks", **settings), expected)
    assert not (tmp_path / "ranks").exists()


def test_ranks_of_one_method_do_not_mix_with_those_of_another_or_of_other_weights(
    given: Path, small_ranker: Path, scene_shards: Path, tmp_path: Path
) -> None:
    out, shard = tmp_path / "ranks", scene_shards / "scenes-000003.tar"
    rank_in_process(rank_config(shard, None, out, **asked("attention", given)))
    before = files_of(out)
    write_task(tmp_path / "other", seed=1)
    for change, line in (
        ({"method": "tome"}, "method.name: 'attention' in the store, 'tome' now"),
        ({"model": str(tmp_path / "other")}, "model.weights: "),
    ):
        with pytest.raises(ValueError, match=rf"(?m)^  {line}"):
            rank_in_process(rank_config(shard, None, out, **{**asked("attention", given), **change}))
    with pytest.raises(ValueError, match=r"(?m)^  method\.name: 'attention' in the store, nothing now$"):
        rank_in_process(rank_config(shard, small_ranker, out))
    assert files_of(out) == before


def test_the_seed_decides_a_random_order_of_one_view_too(given: Path, scene_shards: Path, tmp_path: Path) -> None:
    shard = scene_shards / "scenes-000003.tar"
    rank_in_process(rank_config(shard, None, tmp_path / "ranks", **asked("random", given)))
    with pytest.raises(ValueError, match=r"(?m)^  method\.seed: 0 in the store, 7 now$"):
        rank_in_process(rank_config(shard, None, tmp_path / "ranks", **asked("random", given, seed=7)))


def test_what_a_file_says_of_its_own_method_does_not_go_along_with_another(
    small_ranker: Path, scene_shards: Path, tmp_path: Path
) -> None:
    section = {"shards": [str(scene_shards)], "ranker": str(small_ranker), "out": "ranks"}
    (tmp_path / "mine.yaml").write_text(json.dumps({"rank": section}))
    file = ["--config", "mine.yaml", "--executor", "in-process"]
    assert call("rank", *file).exit_code == 0
    other = call("rank", *file, *flags(method="random", out="random", **GRID))
    assert other.exit_code == 0, other.output
    assert open_dense(str(tmp_path / "random")).settings["method.name"] == "random"
    both = call("rank", *file, *flags(method="random", out="both", ranker=small_ranker))
    assert_refused(both, "--method random: expected no --ranker")
    section |= {"method": "random", "ranker": str(small_ranker)}
    (tmp_path / "mine.yaml").write_text(json.dumps({"rank": section}))
    assert_refused(call("rank", *file), "--method random: expected no --ranker")


def test_scores_of_another_shape_fail_the_shard(
    given: Path, scene_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TokenMerging, "score", lambda self, images, views: torch.zeros(len(images), 5))
    config = rank_config(scene_shards / "scenes-000003.tar", None, tmp_path / "ranks", **asked("tome", given))
    (failure,) = rank_in_process(config, max_attempts=1)[1].failures
    assert failure.reason == "method tome: expected scores of shape (3, 16), got (3, 5)"


def test_ltrp_without_a_ranker_takes_the_one_that_comes_along(scene_shards: Path, tmp_path: Path) -> None:
    config = rank_config(scene_shards / "scenes-000003.tar", None, tmp_path / "ranks")
    assert load_method("ltrp", config).settings["ranker.weights"] == load_ranker(DEFAULT_RANKER).sha256
