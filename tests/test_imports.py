"""The walls of the house: imports run one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from pipeline.commands import COMMANDS

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "ltrp": {"ltrp", "pipeline", "stages", "ranker", "storage"},
    "pipeline": {"pipeline", "stages", "ranker", "storage"},
    "stages": {"stages", "ranker", "storage"},
    "ranker": {"ranker"},
    "storage": {"storage"},
}
ONLY_IN_PIPELINE = {"ray", "click", "cloup"}
HEAVY = ["torch", "numpy", "ray", "zarr", "timm", "webdataset", "matplotlib", "PIL", "rich", "yaml", "obstore"]
"""What takes more time to import than help may take."""


def imported(file: Path) -> set[str]:
    """Top-level names of all packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imported(file) & MAY_IMPORT.keys()
        assert ours <= MAY_IMPORT[package], f"{file.relative_to(ROOT)} imports {ours - MAY_IMPORT[package]}"


@pytest.mark.parametrize("package", ["ltrp", "stages", "ranker", "storage"])
def test_ray_and_click_are_imported_in_pipeline_alone(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert not imported(file) & ONLY_IN_PIPELINE, file.relative_to(ROOT)


def test_storage_needs_no_torch() -> None:
    for file in (ROOT / "storage").rglob("*.py"):
        assert "torch" not in imported(file), file.relative_to(ROOT)


def test_ray_is_imported_where_it_is_used_alone() -> None:
    files = {file.relative_to(ROOT) for file in (ROOT / "pipeline").rglob("*.py") if "ray" in imported(file)}
    assert {file.parent for file in files} == {Path("pipeline/ray")}


CHAINS: list[dict[str, list[str]]] = [
    {
        "import ltrp; dir(ltrp)": [*HEAVY, "pydantic", "click", "pandas", "pipeline", "stages"],
        "import pipeline.cli": [*HEAVY, "pydantic"],
        "import ltrp; ltrp.score; ltrp.train_task": [*HEAVY, "pandas"],
    },
    {"import pipeline.ray.worker": ["torch", "zarr", "click"]},
    {"import storage.scores, storage.verification": ["torch", "ray", "click"]},
    {
        "import ranker": ["ray", "click", "zarr", "webdataset", "pydantic", "stages", "storage"],
        "import stages.density.scorer, stages.density.mae_checkpoints": [
            *("ray", "zarr", "webdataset", "pydantic", "obstore")
        ],
        "import benchmarks.kept_patch_throughput": ["ray", "zarr", "webdataset", "click"],
        "import stages.score": ["ray", "click"],
        "import stages.train_ranker, stages.rank": ["ray", "click"],
    },
]
"""Statements, and what each need not load. Those of a dictionary run one after the other in one process, from the one
that loads least: loading torch takes longest."""


@cache
def loaded(chain: int) -> dict[str, list[str]]:
    """By statement: what of that it has loaded all the same."""
    code = f"""
import sys
found = {{}}
for statement, absent in {CHAINS[chain]}.items():
    exec(statement)
    found[statement] = [name for name in absent if name in sys.modules]
print(found)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return ast.literal_eval(ended.stdout)


@pytest.mark.parametrize(
    ("chain", "statement"), [(number, statement) for number, chain in enumerate(CHAINS) for statement in chain]
)
def test_what_need_not_be_there_is_not_loaded(chain: int, statement: str) -> None:
    assert loaded(chain)[statement] == []


def said(words: list[str], complete: bool) -> list[tuple[str, list[str]]]:
    """What the command says to each of `words` (ltrp-pipeline, a command, ...), one after the other in one process, and
    what of `HEAVY` is loaded by then."""
    code = f"""
import shlex, sys
from click.testing import CliRunner
from pipeline.cli import main
answers = []
for line in {words}:
    asked = dict(_LTRP_PIPELINE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(line.count(" ")))
    called = CliRunner(env=asked if {complete} else {{}}).invoke(main, shlex.split(line)[1:], prog_name="ltrp-pipeline")
    answers.append((called.output, [each for each in {HEAVY} if each in sys.modules]))
print(answers)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return ast.literal_eval(ended.stdout)


def test_help_loads_nothing_that_takes_long() -> None:
    commands = ["", *COMMANDS]
    answers = said([f"ltrp-pipeline {name} --help" for name in commands], complete=False)
    assert all("  -h, --help " in printed for printed, _ in answers)
    assert {name: heavy for name, (_, heavy) in zip(commands, answers, strict=True) if heavy} == {}


def test_completion_knows_commands_options_and_choices_and_loads_nothing_that_takes_long() -> None:
    expected = {
        "train-r": ["train-ranker"],
        **{f"{name} --hel": ["--help"] for name in COMMANDS},
        "score --mask": ["--masking", "--masks", "--mask-ratio"],
        "train-task det": ["detect"],
        "score --distance ss": ["ssim"],
        "train-ranker --loss list": ["list_mle", "list_net"],
    }
    answers = said([f"ltrp-pipeline {words}" for words in expected], complete=True)
    completed = [[line.partition(",")[2] for line in printed.splitlines()] for printed, _ in answers]
    assert dict(zip(expected, completed, strict=True)) == expected
    assert [heavy for _, heavy in answers if heavy] == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = {"utils", "util", "misc", "helpers", "helper", "common"}
    files = [file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py")]
    assert not [file for file in files if file.stem in vague]
