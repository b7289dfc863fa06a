"""What docs/cluster.md deploys: the image's files, the RayJob, and the commands that the page gives."""

from __future__ import annotations

import copy
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import setuptools.config.setupcfg
import yaml
from kuberay_schema import problems
from repository import ROOT

from pipeline.cli import main
from pipeline.commands import COMMANDS

PAGE = ROOT / "docs" / "cluster.md"
DOCKERFILE = ROOT / "docs" / "cluster" / "Dockerfile"
MANIFEST = ROOT / "docs" / "cluster" / "rayjob.yaml"
PACKAGES = ("ltrp", "pipeline", "ranker", "stages", "storage")


@pytest.fixture
def manifest() -> dict[str, Any]:
    return yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))


def spot_group(manifest: dict[str, Any]) -> dict[str, Any]:
    (group,) = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    return group


def worker_container(manifest: dict[str, Any]) -> dict[str, Any]:
    (container,) = spot_group(manifest)["template"]["spec"]["containers"]
    return container


def test_the_manifest_has_no_field_that_kuberay_or_kubernetes_does_not_know(manifest: dict[str, Any]) -> None:
    assert problems(manifest) == []


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ([], "specs", {}),
        (["spec"], "backOffLimit", 3),
        (["spec", "submitterConfig"], "backofLimit", 3),
        (["spec", "rayClusterSpec"], "enableInTreeAutoscaler", True),
        (["spec", "rayClusterSpec", "autoscalerOptions"], "idleTimeoutSecond", 3),
        (["spec", "rayClusterSpec", "headGroupSpec"], "rayStartParam", {}),
        (["spec", "rayClusterSpec", "workerGroupSpecs", 0], "maxReplica", 8),
        (["spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec"], "toleration", []),
        (["spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0], "envFroms", []),
        (["spec", "submitterPodTemplate", "spec", "containers", 0, "resources"], "limit", {}),
    ],
)
def test_a_misspelt_field_is_refused(manifest: dict[str, Any], path: list[Any], name: str, value: Any) -> None:
    place: Any = manifest
    for step in path:
        place = place[step]
    place[name] = value
    (problem,) = problems(manifest)
    assert f"'{name}' was unexpected" in problem


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "backoffLimit"], "5"),
        (["spec", "submissionMode"], "JobMode"),
        (["spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"], 0),
        (["spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec", "terminationGracePeriodSeconds"], "30"),
        (["apiVersion"], "ray.io/v1alpha1"),
    ],
)
def test_a_value_of_another_kind_is_refused(manifest: dict[str, Any], path: list[Any], value: Any) -> None:
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (problem,) = problems(manifest)
    assert problem.startswith("$." + path[0])


def test_what_must_be_there_is_missed(manifest: dict[str, Any]) -> None:
    without = copy.deepcopy(manifest)
    del without["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert [problem for problem in problems(without) if "'headGroupSpec' is a required property" in problem]


def test_the_spot_nodes_can_hold_all_actors_that_the_job_asks_for(manifest: dict[str, Any]) -> None:
    options = options_of(shlex.split(manifest["spec"]["entrypoint"]))
    group, limits = spot_group(manifest), worker_container(manifest)["resources"]["limits"]
    by_gpus = limits["nvidia.com/gpu"] / options["gpus_per_actor"]
    by_cpus = int(limits["cpu"]) / options["cpus_per_actor"]
    assert group["minReplicas"] == 0
    assert int(min(by_gpus, by_cpus)) * group["maxReplicas"] == int(options["actors"])
    assert options["device"] == "cuda"


def test_nothing_but_the_driver_runs_on_the_head_and_that_is_no_spot_node(manifest: dict[str, Any]) -> None:
    head = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]
    pod = head["template"]["spec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in pod["containers"][0]["resources"]["limits"]
    (label,) = spot_group(manifest)["template"]["spec"]["nodeSelector"]
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": label, "operator": "DoesNotExist"}]}]


def test_every_node_has_the_image_and_the_credentials(manifest: dict[str, Any]) -> None:
    spec = manifest["spec"]
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    submitter = spec["submitterPodTemplate"]["spec"]["containers"][0]
    assert head["image"] == worker_container(manifest)["image"] == submitter["image"]
    assert head["envFrom"] == worker_container(manifest)["envFrom"] != []


def test_the_hook_tells_the_actors_and_waits_for_their_end(manifest: dict[str, Any], tmp_path: Path) -> None:
    hook = worker_container(manifest)["lifecycle"]["preStop"]["exec"]["command"]
    # Stand-ins: the real ones would find the actors of whatever else runs on this machine.
    for name, script in {
        "pkill": f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n',
        "pgrep": f"#!/bin/sh\necho >> {tmp_path}/asked\n[ $(wc -l < {tmp_path}/asked) -lt 3 ]\n",
    }.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    began = time.monotonic()
    subprocess.run(hook, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, timeout=30)
    assert 2 <= time.monotonic() - began < 10
    executor = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "pipeline" / "ray").glob("*.py"))
    signal, full, pattern = (tmp_path / "told").read_text().splitlines()
    assert (signal, full) == ("-TERM", "-f")
    (actor,) = re.findall(r"^class (ShardWorker)\b", executor, re.MULTILINE)
    assert re.match(pattern, f"ray::{actor}.process")
    assert not re.match(pattern, "ray::DashboardAgent")  # whose end is the node's
    (seconds,) = re.findall(r"\{1\.\.(\d+)\}", hook[-1])
    assert int(seconds) < spot_group(manifest)["template"]["spec"]["terminationGracePeriodSeconds"]


def command_named(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command
    return command


def options_of(command: list[str]) -> dict[str, Any]:
    """The options of a command of ours as it reads them. Raises click's UsageError for one that it does not take."""
    program, name, *arguments = command
    assert program == "ltrp-pipeline"
    return command_named(name).make_context(name, arguments).params


def commands_of_the_page() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = re.sub(r"\\\n\s*", "", "\n".join(blocks)).splitlines()
    return [line[line.index("ltrp-pipeline ") :] for line in lines if re.search(r"(^|-- )ltrp-pipeline ", line)]


@pytest.mark.parametrize("command", commands_of_the_page())
def test_the_page_gives_commands_that_the_tool_takes(command: str) -> None:
    assert options_of(shlex.split(command, comments=True)) is not None


def test_the_page_speaks_of_options_that_the_tool_has() -> None:
    text = re.sub(r"```.*?```", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    ours = {option for name in COMMANDS for each in command_named(name).params for option in each.opts}
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert len(named) > 5
    assert named <= ours


def instructions() -> Iterator[tuple[str, list[str]]]:
    """Of the Dockerfile: each word that begins a line, with what follows."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            name, *rest = shlex.split(line)
            yield name, rest


def copied() -> list[str]:
    return [source for name, rest in instructions() if name == "COPY" for source in rest[:-1]]


def test_a_linter_of_dockerfiles_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed beside this Python")
    result = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_image_installs_extras_that_there_are_and_does_not_run_as_root() -> None:
    (wanted,) = [each for _, rest in instructions() for each in rest if each.startswith(".[")]
    extras = setuptools.config.setupcfg.read_configuration(ROOT / "setup.cfg")["options"]["extras_require"]
    assert set(wanted[2:-1].split(",")) <= extras.keys()
    assert [rest for name, rest in instructions() if name == "USER"] == [["1000"]]


def test_what_the_image_copies_is_all_that_docker_gets_to_see() -> None:
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert patterns[1] == "*"
    assert sorted(pattern[1:] for pattern in patterns if pattern.startswith("!")) == sorted(copied())


def test_the_files_that_the_image_copies_make_the_whole_package(tmp_path: Path) -> None:
    context, installed = tmp_path / "context", tmp_path / "installed"
    context.mkdir()
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, context)
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", installed, context], check=True)
    for package in PACKAGES:
        ours = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert ours == {str(path.relative_to(installed)) for path in (installed / package).rglob("*.py")}
    # -P and the folder: the package that was just installed, not the one beside this test.
    result = subprocess.run(
        [sys.executable, "-P", installed / "bin" / "ltrp-pipeline", "--help"],
        env={"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "score" in result.stdout
