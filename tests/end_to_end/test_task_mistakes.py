"""What `train-task` refuses: one message, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from pictures import mask
from ranked_tars import write_ranked, write_tar
from task_commands import EVALUATION, OTHERS, call, train, without_exact_speeds, write_data
from task_runs import TARS


@pytest.fixture(autouse=True)
def _quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here."""
    monkeypatch.chdir(tmp_path)
    without_exact_speeds(monkeypatch)


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    return write_data(tmp_path)


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert not list(Path().rglob("task.json")), "nothing is trained"
    assert not list(Path().rglob("training.json")), "and nothing begun"
    return result.output


def without(field: str, *keys: str) -> Callable[[str, dict[str, bytes]], dict[str, bytes]]:
    """The field is missing in the samples of these keys."""
    return lambda key, fields: {name: data for name, data in fields.items() if key not in keys or name != field}


def with_field(field: str, data: bytes, key: str) -> Callable[[str, dict[str, bytes]], dict[str, bytes]]:
    return lambda other, fields: {**fields, field: data} if other == key else fields


BAD_TRUTH = {
    "no class": ("classify", without("cls", "a4"), "a.tar: a4: expected a class in the field cls"),
    "no number": ("classify", with_field("cls", b"cat", "a4"), "a.tar: a4: cls: expected the number of a class, got"),
    "class out of range": ("classify", with_field("cls", b"8", "b1"), "b.tar: b1: class 8: expected one of 8"),
    "no mask": ("segment", without("seg.png", "a0"), "a.tar: a0: expected a mask in the field seg.png"),
    "mask of another size": ("segment", with_field("seg.png", mask(32, 24), "b4"), "b.tar: b4: seg.png: "),
    "no objects": ("detect", without("json", "b0"), "b.tar: b0: expected objects in the field json"),
    "no categories": ("multilabel", with_field("json", b"{}", "a5"), "a.tar: a5: json: expected a list of categories"),
    "category out of range": (
        "multilabel",
        with_field("json", b'{"categories": [8]}', "a5"),
        "a.tar: a5: class 8: expected one of 8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TRUTH)
@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_bad_truth_is_refused_with_the_samples_name_before_anything_is_trained(
    where: str, name: str, small_mae: Path, tmp_path: Path
) -> None:
    task, change, message = BAD_TRUTH[name]
    good, bad = (tmp_path / "others", tmp_path) if where == "training" else (tmp_path, tmp_path / "others")
    write_ranked(good, TARS)
    write_ranked(bad, TARS, change=change)
    assert message in refused(train(small_mae, *EVALUATION, task=task))


def test_classes_that_are_met_in_evaluation_alone_are_refused_where_none_have_names(
    small_mae: Path, tmp_path: Path
) -> None:
    write_ranked(
        tmp_path, {"a": ["a1", "a2"]}, change=lambda key, fields: {**fields, "cls": key[1:].encode()}, info=None
    )
    write_ranked(tmp_path / "others", {"b": ["b1"]}, change=lambda _, fields: {**fields, "cls": b"3"}, info=None)
    assert "b.tar: b1: class 3: expected one of 2, from 1 to 2" in refused(train(small_mae, *EVALUATION))


@pytest.mark.parametrize("where", [".", "others"])
def test_a_store_that_lacks_samples_is_refused_with_the_first_of_them(
    where: str, ranked: Path, small_mae: Path
) -> None:
    (ranked / where / "tars/index.json").unlink()
    write_tar(ranked / where, "d", ["d7", "d8"])
    assert "has no ranks for sample 'd7' of" in refused(train(small_mae, *EVALUATION))


def test_a_tar_that_has_changed_since_it_was_ranked_is_refused(ranked: Path, small_mae: Path) -> None:
    write_tar(ranked, "b", [f"other{number}" for number in range(9)])
    message = refused(train(small_mae))
    assert "b.tar" in message
    assert "has changed since its ranks were computed" in message or "by its index" in message


def test_stores_of_different_patches_are_refused_by_name(small_mae: Path, tmp_path: Path) -> None:
    write_ranked(tmp_path, TARS)
    write_ranked(tmp_path / "others", OTHERS, settings={"ranker.image_size": 64, "patches": 64})
    message = refused(train(small_mae, *EVALUATION))
    assert "others/ranks: expected scores of 4 x 4 patches (32 pixels in patches of 8), as the training's" in message
    assert "got 8 x 8 patches (64 pixels in patches of 8)" in message


@pytest.mark.usefixtures("ranked")
@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (
            "classify",
            ["--keep-ratio", "0.5,0"],
            "--keep-ratio: keep ratio: expected more than 0 and at most 1, got 0.0",
        ),
        ("classify", ["--keep-ratio", "1.5"], "--keep-ratio: keep ratio: expected more than 0 and at most 1, got 1.5"),
        ("segment", ["--mixup", "0.8"], "mixup: expected 0 for segment"),
        ("classify", EVALUATION[:2], "eval_ranks: expected both eval_shards and eval_ranks, or neither"),
        ("classify", EVALUATION[2:], "eval_shards: expected both eval_shards and eval_ranks, or neither"),
        ("classify", ["--exclude-classes", "unseen"], "unseen: line 2: expected the name or number of a class"),
        ("classify", ["--exclude-classes", "everything"], "everything: expected to leave at least one class"),
        ("classify", ["--exclude-classes", "nowhere"], "nowhere"),
        ("classify", ["--class-names", "few"], "expected one of 1, from 0 to 0"),
        ("classify", ["--preset", "ltrp"], "auto_augment: expected none with --ranks, whose scores are of views as"),
        ("classify", ["--image-size", "33"], "image_size: expected a multiple of 4, for the 4 x 4 patches"),
        ("classify", ["--ranks", "nowhere"], "nowhere: no store of scores or ranks there"),
        ("classify", ["--init", "nowhere"], "nowhere"),
        ("classify", ["--batch-size", "5", "--accumulate", "2"], "batch_size: expected a multiple of 1 workers"),
        ("classify", ["--warmup-epochs", "2"], "warmup_epochs: expected at most all epochs, 1, got 2"),
    ],
    ids=str,
)
def test_a_mistake_is_one_message_and_nothing_is_trained(
    task: str, options: list[str], message: str, small_mae: Path
) -> None:
    Path("unseen").write_text("disc\nunicorn\n")
    Path("everything").write_text("\n".join(map(str, range(8))))
    Path("few").write_text("disc\n")
    evaluation = [] if options[0].startswith("--eval") else EVALUATION
    assert message in refused(train(small_mae, *evaluation, *options, task=task))
    if "--exclude-classes" in options:  # also where the truth has been read before
        assert message in refused(train(small_mae, *evaluation, *options, task=task))


def test_a_task_that_is_not_known_is_refused_with_those_that_are(small_mae: Path) -> None:
    result = train(small_mae, task="caption")
    assert result.exit_code == 2
    assert "'classify', 'multilabel', 'segment', 'detect'" in " ".join(result.output.split())


def test_a_task_is_needed(small_mae: Path) -> None:
    result = call("train-task", "--shards", "tars", "--ranks", "ranks", "--out", "out")
    assert result.exit_code == 2
    assert "TASK is missing" in result.output
    assert not Path("out").exists()
