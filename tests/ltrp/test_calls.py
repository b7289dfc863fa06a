"""`ltrp`: the same work as the commands', with results, exceptions and callbacks instead of lines and statuses."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from made_results import result_of
from ranked_tars import write_ranked

import ltrp
from pipeline.cli import main
from pipeline.progress.event_file import EVENTS_FILE
from stages.comparison.compared import Compared
from stages.pretrain_mae import PretrainMaeSummary
from stages.report import Progress, Report
from stages.training.loop import TrainingReport
from storage.locations import locate
from storage.shard_files import write_shard


@pytest.fixture
def scored_scenes(scene_shards: Path, small_mae: Path, tmp_path: Path) -> Path:
    """A folder with tars/ and, by `ltrp.score`, scores/."""
    ltrp.score(shards=scene_shards, mae=small_mae, out=tmp_path / "scores", mask_ratio=0.75, progress=False)
    return tmp_path


def test_images_become_tars(tmp_path: Path) -> None:
    made = ltrp.shard(scenes=5, scene_size=40, shard_size=2, out=tmp_path / "tars", progress=False)
    assert (made.samples, made.images, made.written) == (5, 5, 3)
    assert made.to_pandas()["nsamples"].tolist() == [2, 2, 1]
    assert "5 of 5 images in 3 tars (3 new)" in repr(made)


def test_a_store_is_byte_for_byte_that_of_the_command(scored_scenes: Path, small_mae: Path) -> None:
    words = ["score", "--shards", scored_scenes / "tars", "--mae", small_mae, "--out", scored_scenes / "by-command"]
    words += ["--mask-ratio", 0.75]
    result = CliRunner().invoke(main, [*map(str, words), "--executor", "in-process"], catch_exceptions=False)
    assert result.exit_code == 0
    ours, theirs = (locate(scored_scenes / name) for name in ("scores", "by-command"))
    of_one_run = ("books/drivers", f"books/{EVENTS_FILE}")
    files = [path for path in theirs.walk() if not path.startswith(of_one_run)]
    assert files == [path for path in ours.walk() if not path.startswith(of_one_run)]
    assert [path for path in files if ours.read(path) != theirs.read(path)] == []


def test_a_call_goes_on_with_what_is_missing_and_says_what_it_did(scored_scenes: Path, small_mae: Path) -> None:
    again = ltrp.score(
        shards=[scored_scenes / "tars"],
        mae=str(small_mae),
        out=str(scored_scenes / "scores"),
        mask_ratio=0.75,
        progress=False,
    )
    assert (again.shards, again.done_before, again.done) == (4, 4, 0)
    assert repr(again) == "4 of 4 shards are done (0 in this run)."
    assert again.to_pandas().iloc[0]["shards"] == 4


def test_progress_goes_to_callbacks(scene_shards: Path, small_mae: Path, tmp_path: Path, capsys: Any) -> None:
    heard: list[Report] = []
    more: list[Report] = []
    ltrp.score(
        shards=scene_shards,
        mae=small_mae,
        out=tmp_path / "scores",
        mask_ratio=0.75,
        progress=False,
        callback=[heard.append, more.append],
    )
    assert heard == more
    told = [each for each in heard if isinstance(each, Progress)]
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert (told[-1].title, told[-1].done, told[-1].total, told[-1].unit) == ("score", 15, 15, "samples")
    assert any("4 shards, MAE of 16 patches" in (each.line or "") for each in heard)
    assert capsys.readouterr() == ("", ""), "nothing is printed without progress"


def test_progress_is_shown_unless_it_is_not_wanted(scene_shards: Path, small_mae: Path, tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    from ltrp.watching import NotebookBar

    with NotebookBar("score", "samples") as bar:
        bar.show(3, 15, "1/4 shards")
        bar.show(15, 15, "4/4 shards", last=True)
        assert (bar._bar.n, bar._bar.total) == (15, 15)


def test_a_ranker_is_trained_judged_and_used(scored_scenes: Path) -> None:
    heard: list[Report] = []
    tars, scores, out = (scored_scenes / name for name in ("tars", "scores", "ranker"))
    trained = ltrp.train_ranker(
        shards=tars, scores=scores, out=out, size="nano", width=16, depth=1, heads=2, epochs=1, batch_size=4,
        validation=0.4, progress=False, callback=heard.append,
    )  # fmt: skip
    assert any(isinstance(each, TrainingReport) for each in heard), "a training's own reports"
    assert trained is not None
    assert f"Ranker after epoch 1, the best by validation, in {out}." in repr(trained)
    table = trained.to_pandas()
    tau = table[(table["scoring"] == "ranker") & (table["metric"] == "in mask: kendall")]
    assert tau["mean"].item() == trained.best.selected_by
    evaluation = ltrp.evaluate_ranker(
        shards=tars, scores=scores, ranker=out, out=scored_scenes / "evaluation", part="all", progress=False
    )
    assert evaluation.images == 15
    assert "how well it predicts the scores" in evaluation._repr_markdown_()
    ltrp.rank(shards=tars, ranker=out, out=scored_scenes / "ranks", progress=False)
    ranks = ltrp.load_scores(scored_scenes / "ranks")
    assert len(ranks) == 15
    assert ltrp.PatchRanker.from_pretrained(str(out)).config.n_patches == 16


def test_coverage_is_a_table(tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1", "a2", "a3"]})
    found = ltrp.coverage(
        shards=tmp_path / "tars", ranks=tmp_path / "ranks", out=tmp_path / "out", keep_ratio=(0.25, 1.0),
        select="topk", progress=False,
    )  # fmt: skip
    table = found.to_pandas()
    assert table["keep_ratio"].tolist() == [0.25, 1.0]
    assert table["coverage"].tolist()[1] == pytest.approx(1.0)
    assert repr(found).startswith("# coverage\n")


def test_scores_are_exported(tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1", "a2", "a3"]})
    found = ltrp.export_scores(tmp_path / "ranks", to="npz", out=tmp_path / "arrays", progress=False)
    assert (found.images, found.shards) == (3, 1)
    assert np.load(tmp_path / "arrays" / "a.npz")["mean"].shape == (3, 1, 16)
    assert repr(found) == f"{tmp_path / 'arrays'}: 3 images of 1 shard"
    assert found.to_pandas()["images"].tolist() == [3]
    ratio: Any = np.float32(0.5)
    kept = tmp_path / "half.json"
    ltrp.export_scores(
        tmp_path / "ranks", to="coco", out=kept, keep_ratio=ratio, shards=tmp_path / "tars", progress=False
    )
    assert json.loads(kept.read_text())["info"]["keep_ratio"] == 0.5
    wrong: Any = "0.5"
    with pytest.raises(ValueError, match=r"keep_ratio: expected more than 0 and at most 1, got '0\.5'"):
        ltrp.export_scores(tmp_path / "ranks", to="coco", out=kept, keep_ratio=wrong, progress=False)
    given: list[Path | str | list[Path]] = [tmp_path / "tars", str(tmp_path / "tars"), [tmp_path / "tars"]]
    for number, shards in enumerate(given):
        out = tmp_path / f"kept{number}.json"
        assert ltrp.export_scores(tmp_path / "ranks", to="coco", out=out, shards=shards, progress=False).images == 3


def test_a_trained_mae_says_where_it_lies_and_how_good_it_is() -> None:
    made = PretrainMaeSummary("work/mae", started_at=10, steps=40, held_out_loss=0.25, left_out={"a": "cut"})
    told = "MAE of 40 steps in work/mae, loss on held-out images 0.2500.\nLook at work/mae/reconstructions.png."
    assert repr(made) == str(made) == told
    assert made.to_pandas().to_dict("records") == [
        {"out": "work/mae", "started_at": 10, "steps": 40, "held_out_loss": 0.25, "skipped": 1}
    ]


def test_a_result_of_a_task_is_the_row_that_a_comparison_has_of_it() -> None:
    made = result_of(metrics={"coverage": 0.5, "best": None}, notes=("of few images",))
    assert str(made) == repr(made)
    assert "coverage 0.5000, best -" in repr(made)
    assert "Note: of few images" in made._repr_markdown_()
    assert made.to_pandas().to_dict("records") == Compared("out", (made,), {}).to_pandas().to_dict("records")


def test_whatever_a_function_returns_becomes_a_table() -> None:
    stub = ast.parse(Path(ltrp.__file__).with_suffix(".pyi").read_text())
    places = {name.name: each.module for each in stub.body if isinstance(each, ast.ImportFrom) for name in each.names}
    returned = {ast.unparse(each.returns) for each in stub.body if isinstance(each, ast.FunctionDef) and each.returns}
    found = [getattr(importlib.import_module(str(places[name])), name) for name in sorted(returned)]
    assert len(found) >= 7
    assert [kind for kind in found if not hasattr(kind, "to_pandas")] == []


@pytest.mark.parametrize(
    ("given", "error", "expected"),
    [
        ({"views": 0}, ValueError, "views: expected greater than or equal to 1, got 0"),
        ({"executor": "dask"}, ValueError, "executor: expected 'ray' or 'in-process', got 'dask'"),
        ({"masks": "many", "mask_ratio": 2.0}, ValueError, "masks: expected .*\nmask_ratio: expected"),
        ({"maks": 3}, TypeError, r"score\(\): maks is unknown: did you mean masks\?"),
        ({"shards": None}, ValueError, "shards: expected a valid list, got None"),
        ({"shards": []}, ValueError, "shards: expected at least one, got none"),
        ({"shards": ("a", 3)}, ValueError, "shards.1: expected a valid string, got 3"),
        ({"out": ""}, ValueError, "out: expected some text, got ''"),
        ({"callback": 3}, ValueError, "callback: expected a function of a report, or a list of some, got 3"),
    ],
    ids=str,
)
def test_wrong_keywords_are_refused_in_the_words_of_the_commands(
    given: dict[str, Any], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        ltrp.score(**{"shards": "a", "mae": "m", "out": "o", **given})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(TypeError, match=r"score\(\): expected mae and out, got no such keyword"):
        ltrp.score(shards="a")  # type: ignore[call-arg]


def test_a_mistake_is_an_exception_with_the_message_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no tars found"):
        ltrp.score(shards=tmp_path / "nowhere", mae="ltrp-mae-112", out=tmp_path / "scores", progress=False)


def test_failed_shards_are_an_exception_that_has_the_outcome(small_mae: Path, tmp_path: Path) -> None:
    write_shard(locate(tmp_path / "tars"), "bad.tar", [("a", {"png": b"no"})])
    with pytest.raises(ltrp.ShardsFailed, match="not one sample of them can be used") as caught:
        ltrp.score(shards=tmp_path / "tars", mae=small_mae, out=tmp_path / "scores", mask_ratio=0.75, progress=False)
    assert caught.value.outcome.is_empty
    (tmp_path / "tars" / "bad.tar").write_bytes(b"cut")
    with pytest.raises(ltrp.ShardsFailed, match="shard bad failed after 3 attempts") as caught:
        ltrp.score(shards=tmp_path / "tars", mae=small_mae, out=tmp_path / "other", mask_ratio=0.75, progress=False)
    assert [each.shard for each in caught.value.outcome.failures] == ["bad"]


@pytest.mark.parametrize(
    "ratios",
    [np.array([0.25, 1.0]), {0.25, 1.0}, (each for each in (0.25, 1.0))],
    ids=["array", "set", "generator"],
)
def test_a_list_may_be_anything_that_has_several(ratios: Any, tmp_path: Path) -> None:
    write_ranked(tmp_path, {"a": ["a1", "a2", "a3"]})
    found = ltrp.coverage(
        shards=tmp_path / "tars", ranks=tmp_path / "ranks", out=tmp_path / "out", keep_ratio=ratios, progress=False
    )
    assert sorted(found.to_pandas()["keep_ratio"].unique()) == [0.25, 1.0]
