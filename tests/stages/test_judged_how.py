"""What `evaluate-task` says of how it judged: how masks were read, and whose scores chose patches."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from ranked_tars import write_ranked
from task_runs import QUARTER, TARS, judge, task_config, train_task

from stages.evaluate_task import evaluate_task
from stages.settings.evaluate_task import EvaluateTaskConfig


def test_a_model_reads_masks_as_it_did_in_training_and_tells_what_counts_nowhere(
    small_mae: Path, tmp_path: Path
) -> None:
    """Of value 255 where others have 2."""

    def recoded(key: str, fields: dict[str, bytes]) -> dict[str, bytes]:
        mask = np.array(Image.open(BytesIO(fields["seg.png"])))
        file = BytesIO()
        Image.fromarray(np.where(mask == 2, 255, mask).astype(np.uint8)).save(file, "png")
        return {**fields, "seg.png": file.getvalue()}

    for name, change in (("plain", lambda _, fields: fields), ("recoded", recoded)):
        write_ranked(tmp_path / name, TARS, change=change)
    config = task_config(tmp_path / "recoded", small_mae, tmp_path / "out", task="segment", mask_values=["255=2"])
    train_task(config)
    model = tmp_path / "out" / QUARTER.name
    plain, recoded_masks = (judge(tmp_path / name, model) for name in ("plain", "recoded"))
    assert recoded_masks.by_class == plain.by_class
    assert judge(tmp_path / "recoded", model, mask_values=["255=255"]).by_class != plain.by_class
    told: list[str] = []
    unread = EvaluateTaskConfig(
        model=str(model),
        shards=[str(tmp_path / "recoded/tars")],
        ranks=str(tmp_path / "recoded/ranks"),
        out="nowhere",
        throughput=False,
        mask_values=["255=255"],
    )
    evaluate_task(unread, lambda *_: None, told.append)
    assert re.fullmatch(r".*: [\d.]+% of the pixels of masks are 255 and count nowhere", told[-1])


def test_patches_of_another_ranker_than_in_training_are_told(small_mae: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_ranked(tmp_path / name, TARS, settings={"ranker.weights": name})
    train_task(task_config(tmp_path / "one", small_mae, tmp_path / "out"))
    model = tmp_path / "out" / QUARTER.name
    assert judge(tmp_path / "one", model).notes == ()
    found = judge(tmp_path / "other", model)
    assert found.notes == ("trained on patches that other scores chose than those it is judged on",)
    assert found.learnt_by == {"ranker.weights": "one"}
    assert judge(tmp_path / "other", model, select="random").notes == ()
