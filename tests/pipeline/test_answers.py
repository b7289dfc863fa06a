"""--json: one document on standard output, whose fields docs/json.md tells."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from json_page import page
from repository import ROOT

from pipeline.answers import answer, json_option, plan_options
from pipeline.cli import main
from pipeline.commands import COMMANDS
from pipeline.documents import DOCUMENTS, encode, type_of
from stages.comparison.comparison import Point, Spread, TaskComparison
from storage.verification import ShardFindings, Verification

FOUND = Verification("/s", "scores", 2, 1, (ShardFindings("a", ("cut",)),), (), lists_shards=True)


def options_of(name: str) -> set[str]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return {flag for option in command.params for flag in option.opts}


def test_the_page_tells_the_fields_that_the_documents_have() -> None:
    """After a change that is meant: `python tests/helpers/json_page.py > docs/json.md`."""
    assert (ROOT / "docs/json.md").read_text(encoding="utf-8") == page()


def test_every_command_that_plans_or_has_a_document_has_the_option() -> None:
    has_json = {name for name in COMMANDS if "--json" in options_of(name)}
    has_plan = {name for name in COMMANDS if "--plan" in options_of(name)}
    assert has_json == has_plan | (DOCUMENTS.keys() - {"plan"})
    assert has_plan == {
        "shard", "pretrain-mae", "score", "train-ranker", "train-gfnet", "rank", "compare-methods", "train-task",
    }  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_document_has_a_schema(document: str) -> None:
    from pydantic import TypeAdapter

    assert TypeAdapter(type_of(document)).json_schema(mode="serialization")


@click.command("verify")
@json_option
def told() -> None:
    click.echo("on the way")
    answer(FOUND, ["for people"], written=["/s/file"])
    sys.stdout.write("and after\n")


def test_the_document_is_alone_on_standard_output() -> None:
    result = CliRunner().invoke(told, ["--json"])
    assert json.loads(result.stdout) == {
        "document": "verify",
        "version": 1,
        "result": {
            "store": "/s",
            "content": "scores",
            "shards": 2,
            "whole": 1,
            "damaged": [{"shard": "a", "findings": ["cut"]}],
            "missing": [],
            "lists_shards": True,
            "begun": [],
        },
        "written": ["/s/file"],
    }
    assert result.stderr == "on the way\nand after\n"


def test_without_the_option_people_are_told() -> None:
    assert CliRunner().invoke(told).stdout == "on the way\nfor people\nand after\n"


def test_after_it_standard_output_is_what_it_was() -> None:
    runner = CliRunner()
    runner.invoke(told, ["--json"])
    assert runner.invoke(told).stdout.startswith("on the way\n")


@click.command("score")
@plan_options
def planned(plan: bool) -> None:
    click.echo("planned" if plan else "done")


def test_where_only_a_plan_has_a_document_json_asks_for_plan() -> None:
    refused = CliRunner().invoke(planned, ["--json"])
    assert refused.exit_code == 2
    assert "--json: expected --plan beside it" in refused.stderr
    assert (CliRunner().invoke(planned, ["--plan"]).stdout, CliRunner().invoke(planned).stdout) == (
        "planned\n",
        "done\n",
    )


def test_what_is_no_number_is_null_and_keys_are_strings() -> None:
    point = Point(0.25, 4, (0,), {"top-1": Spread(math.nan, None, 1), "other": None}, None, None)
    found = TaskComparison(16, 3, ("top-1", "other"), None, None, {"ltrp topk": (point,)}, None, (), ())
    written: Any = json.loads(encode("compare", {"classify": found}, []), parse_constant=pytest.fail)
    metrics = written["result"]["classify"]["lines"]["ltrp topk"][0]["metrics"]
    assert metrics == {"top-1": {"mean": None, "std": None, "n": 1, "interval": None}, "other": None}


def test_an_error_is_no_document(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status", str(tmp_path / "nowhere"), "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.search(r"^Error: .*nowhere: no store", result.stderr)


def test_a_reader_that_is_gone_is_no_fault() -> None:
    code = """
import os, sys
from pipeline.doctor import families
from pipeline.doctor.check import Check
families.check_all = lambda: iter([Check("disk", "room", "ok", "x" * 1000000)])
from pipeline.cli import main
main(["doctor", "--json"])
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        told = run.stderr.read()
    assert (run.returncode, told) == (141, b"")
