"""What editors and `help()` show of `ltrp` is what its functions take."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import ltrp
from pipeline.commands import COMMANDS, in_code
from pipeline.config import section_model

ROOT = Path(__file__).parents[2]
STUB = ROOT / "ltrp" / "__init__.pyi"
STAGES = {name: row for command, row in COMMANDS.items() if row.settings and (name := in_code(command)) in dir(ltrp)}
HEADER = '''"""The pipeline from Python; made by tests/ltrp/test_signatures.py of the settings' classes."""

import os
from collections.abc import Sequence
from typing import Literal

from ltrp.calls import ShardsFailed as ShardsFailed
from ltrp.calls import export_scores as export_scores
from ltrp.loggers import to_mlflow as to_mlflow
from ltrp.loggers import to_wandb as to_wandb
from ltrp.scores import Scores as Scores
from ltrp.scores import load_scores as load_scores
from ltrp.watching import Callback
from pipeline.shard_run import Outcome
from ranker import KeptPatches as KeptPatches
from ranker import PatchRanker as PatchRanker
from stages.comparison.compared import Compared
from stages.comparison.result import TaskResult
from stages.pretrain_mae import PretrainMaeSummary
from stages.ranking.evaluation import Evaluation
from stages.shard import ShardSummary
from stages.train_ranker import TrainRankerSummary
'''


def stub() -> str:
    """The stub file, before it is formatted."""
    parts = [HEADER]
    for name in STAGES:
        function = getattr(ltrp, name)
        signature = inspect.signature(function)
        lines = [
            f"    {each.name}: {told(each)}{'' if each.default is each.empty else f' = {each.default!r}'},"
            for each in signature.parameters.values()
        ]
        summary = " ".join(inspect.getdoc(function).split("\n\n")[0].split())  # type: ignore[union-attr]
        head, returned = "\n".join([f"def {name}(", "    *,", *lines]), signature.return_annotation
        parts.append(f'{head}\n) -> {returned}:\n    """{summary}"""\n')
    return "\n".join(parts)


def told(parameter: inspect.Parameter) -> str:
    return "Callback" if parameter.name == "callback" else in_words(parameter.annotation)


def in_words(kind: Any) -> str:
    """A kind of value as a stub has it."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = sorted(typing.get_args(kind), key=lambda part: part is type(None))
        return " | ".join(map(in_words, parts))
    if kind is type(None):
        return "None"
    if typing.get_origin(kind) is Sequence:
        return f"Sequence[{in_words(typing.get_args(kind)[0])}]"
    return inspect.formatannotation(kind).replace("typing.", "")


def formatted(text: str) -> str:
    words = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"]
    return subprocess.run(words, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_the_stub_is_made_of_the_functions() -> None:
    """After a change that is meant: `python tests/ltrp/test_signatures.py`."""
    assert STUB.read_text(encoding="utf-8") == formatted(stub())


@pytest.mark.parametrize("name", STAGES)
def test_a_function_takes_every_setting_of_its_command_with_its_default(name: str) -> None:
    taken = inspect.signature(getattr(ltrp, name)).parameters
    execution = STAGES[name].execution
    for section in filter(None, [name, execution]):
        for setting, info in section_model(section).model_fields.items():
            if setting != "executor":
                assert info.is_required() == (taken[setting].default is inspect.Parameter.empty)
    sections = [section_model(section).model_fields for section in filter(None, [name, execution])]
    assert set(taken) == {"progress", "callback"}.union(*sections)
    for setting, info in sections[0].items():
        if not info.is_required():
            assert taken[setting].default == info.get_default()
    if execution == "execution":
        assert taken["executor"].default == "in-process", "Ray is started for those who ask for it"


def test_every_stage_of_the_readme_s_flow_has_a_function() -> None:
    flow = {"shard", "pretrain_mae", "score", "train_ranker", "evaluate_ranker", "rank", "coverage", "train_task"}
    assert flow <= STAGES.keys()


def test_help_tells_what_each_setting_means() -> None:
    shown: Any = inspect.getdoc(ltrp.score)
    assert "Scores every patch of every image" in shown
    assert "    mask_ratio: Fraction of the patches that a mask hides." in shown
    assert "    callback: Hears every report" in shown


if __name__ == "__main__":
    STUB.write_text(formatted(stub()), encoding="utf-8")
