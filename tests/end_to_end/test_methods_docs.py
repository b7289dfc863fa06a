"""docs/methods.md and docs/comparison.md: every method is there, commands can be read, and the Python makes one."""

from __future__ import annotations

import re

import pytest
import torch
from repository import ROOT
from torch.nn.functional import avg_pool2d
from vit_methods import Asked

from pipeline.commands import command_of
from stages.methods.grid import GridMethod
from stages.tables import METHODS

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def test_the_table_has_every_method_in_the_order_of_help_and_says_what_it_needs() -> None:
    rows = dict(re.findall(r"^\| `([a-z][a-z0-9-]+)` \| [^|]+ \| ([^|]+) \|", PAGE, re.MULTILINE))
    assert list(rows) == list(METHODS.rows)
    for name, needed in rows.items():
        for setting in METHODS[name].needs:
            assert f"`--{setting}`" in needed, name


@pytest.mark.parametrize("page", ["methods.md", "comparison.md"])
def test_commands_have_options_that_there_are(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ltrp-pipeline (.*?)(?:  #.*)?$", text, re.MULTILINE)
    assert lines
    for line in lines:
        name, *words = line.split()
        command_of(name).make_context(name, words)  # raises UsageError for what it does not know


def test_the_class_that_it_writes_is_a_method() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    made = {"GridMethod": GridMethod, "avg_pool2d": avg_pool2d}
    exec(compile(block, "methods.md", "exec"), made)
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    images[..., 8:, :8] = 200
    method = made["Brightness"].load(Asked(image_size=16))  # type: ignore[attr-defined]
    assert method.score(images, []).tolist() == [[0, 0, 200, 0]]
