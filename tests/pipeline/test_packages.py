"""Our packages have names that others have too: whoever took the place of one is named, and nothing else is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import ROOT

from pipeline.packages import MARK, PACKAGES, refuse_others_packages

PROGRAM = [sys.executable, "-c", "from pipeline.cli import main; main(['--version'], prog_name='ltrp-pipeline')"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages: ours."""
    folder = tmp_path / "site"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def started(site: Path) -> str:
    """What the command prints with the packages of `site`."""
    ended = subprocess.run(
        PROGRAM,
        cwd=site.parent,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == (0 if ended.stdout.startswith("ltrp-pipeline, version") else 1), ended.stderr
    return ended.stdout + ended.stderr


def install(site: Path, name: str, package: str) -> None:
    """As pip does: the files of a distribution, over whatever is there, and what tells of them."""
    (site / package).mkdir(exist_ok=True)
    (site / package / "__init__.py").write_text("raise SystemExit('the files of another project were run')\n")
    told = site / f"{name.replace('-', '_')}-1.2.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (told / "RECORD").write_text(f"{package}/__init__.py,,\n{told.name}/METADATA,,\n{told.name}/RECORD,,\n")


def test_our_own_packages_are_taken(site: Path) -> None:
    assert started(site).startswith("ltrp-pipeline, version")


@pytest.mark.parametrize(("name", "package"), [("stages", "stages"), ("my-ranker", "ranker"), ("storage", "storage")])
def test_a_distribution_that_took_the_place_of_one_is_named(site: Path, name: str, package: str) -> None:
    install(site, name, package)
    assert re.fullmatch(
        rf"Error: package {package}: expected that of ltrp-pipeline in \S+/site, got that of {name} 1\.2, which is "
        rf"installed too: pip uninstall {name}; pip install --force-reinstall --no-deps ltrp-pipeline\n",
        started(site),
    )


def test_what_another_distribution_took_along_when_it_was_uninstalled_is_missed(site: Path) -> None:
    (site / "stages" / "__init__.py").unlink()
    assert "package stages: expected that of ltrp-pipeline" in started(site)


def test_a_package_of_the_folder_that_python_was_started_in_is_told_with_its_place(site: Path) -> None:
    here = site.parent / "here"
    (here / "storage").mkdir(parents=True)
    (here / "storage" / "__init__.py").write_text("raise SystemExit('the wrong one was run')\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline", "--version"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert f"got {here}/storage/__init__.py: start elsewhere" in ended.stderr


def test_a_folder_of_such_a_name_is_no_package(site: Path) -> None:
    """`--out work/ranker` makes one: ours goes before it, if it lies in a folder of the path."""
    here = site.parent / "ranker"
    here.mkdir()
    code = "import sys; sys.path.insert(0, ''); import ranker; print(ranker.__file__)"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here.parent,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == str(site / "ranker" / "__init__.py")


def test_each_package_is_marked_and_looking_takes_no_time() -> None:
    assert all(MARK in (ROOT / name / "__init__.py").read_text(encoding="utf-8") for name in PACKAGES)
    took = []
    for _ in range(20):
        started_at = time.perf_counter()
        refuse_others_packages()
        took.append(time.perf_counter() - started_at)
    assert min(took) < 0.005
