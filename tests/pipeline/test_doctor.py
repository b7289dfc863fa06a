"""`doctor`: what it says of machines that are fit, and of others."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from pipeline.cli import main
from pipeline.doctor import buckets, families
from pipeline.doctor.accelerator import check_absent, check_gpu, check_visible
from pipeline.doctor.buckets import check_buckets, check_gs, check_s3
from pipeline.doctor.check import Check, diagnosis
from pipeline.doctor.cluster import check_asked, check_here, check_ray, check_shared
from pipeline.doctor.container import granted_bytes, granted_cores, used_bytes
from pipeline.doctor.disk import check_disk, check_folder
from pipeline.doctor.memory import check_free
from pipeline.doctor.processor import check_cores, check_threads
from pipeline.doctor.software import check_package, check_pair, check_python, check_software
from pipeline.packages import DISTRIBUTION

GIB = 2**30
SECRET = "s3cr3t-key"


@pytest.mark.parametrize(
    ("check", "state", "found"),
    [
        (check_python("3.12.1", ">=3.11"), "ok", "3.12.1"),
        (check_python("3.10.4", ">=3.11"), "problem", "3.10.4, expected >=3.11"),
        (check_package(Requirement("zarr>=3.1.3"), "3.1.6"), "ok", "3.1.6"),
        (check_package(Requirement("torch>=2.7"), "2.14.1+cpu"), "ok", "2.14.1+cpu"),
        (check_package(Requirement("zarr>=3.1.3"), "2.18.0"), "problem", "2.18.0, expected >=3.1.3"),
        (check_package(Requirement("zarr>=3.1.3"), None), "problem", "not installed, expected >=3.1.3"),
        (check_pair(["numpy", "torch (==2.14.1)"], "2.14.1+cu130"), "ok", "made for each other"),
        (check_pair(["torch==2.14.1"], "2.13.0"), "problem", "torchvision was made for torch ==2.14.1, got 2.13.0"),
        (check_cores(8, 4, None), "ok", "4 of 8 may be used"),
        (check_cores(8, 8, 2.0), "warning", "8 of 8 may be used, but the container grants the time of 2"),
        (check_threads(None, 2), "ok", "not set: as many threads as cores"),
        (check_threads("2", 2), "ok", "2"),
        (check_threads("16", 2), "warning", "16, more than the 2 that may be used: they get into each other's way"),
        (check_threads("many", 2), "warning", "expected a number from 1, got 'many'"),
        (check_visible(None, has_driver=True), "ok", "not set"),
        (check_visible("", has_driver=True), "warning", "hides every GPU of this machine"),
        (check_visible("", has_driver=False), "ok", "''"),
        (check_gpu(0, "H200", 100 * GIB, 139 * GIB), "ok", "H200, 100.0 of 139.0 GiB free"),
        (check_gpu(0, "H200", GIB, 139 * GIB), "warning", "H200, 1.0 of 139.0 GiB free"),
        (check_absent(False, None, hidden=False), "ok", "none: everything is computed on the CPU"),
        (check_absent(True, "13.0", hidden=True), "ok", "none: everything is computed on the CPU"),
        (check_absent(True, None, hidden=False), "problem", "there is one, but this torch was built without CUDA"),
        (check_free(64 * GIB, 32 * GIB, None), "ok", "32.0 of 64.0 GiB free"),
        (check_free(64 * GIB, 2 * GIB, 4 * GIB), "warning", "2.0 of 64.0 GiB free, of which the container grants 4.0"),
        (check_free(64 * GIB, GIB // 2, None), "problem", "0.5 of 64.0 GiB free"),
        (check_shared(64 * 2**20, 80 * 2**20), "warning", "64 MiB free in /dev/shm, Ray takes 80"),
        (check_shared(90 * 2**20, 80 * 2**20), "ok", "90 MiB free in /dev/shm"),
        (check_here([]), "ok", "none: a run starts an instance of its own"),
        (check_here(["10.0.0.1:6379"]), "ok", "one answers at 10.0.0.1:6379"),
        (check_asked("head:6379", [""]), "ok", "RAY_ADDRESS=head:6379 answers"),
        (check_asked("auto", []), "problem", "RAY_ADDRESS=auto does not answer: none is known"),
    ],
    ids=lambda value: value.name if isinstance(value, Check) else "",
)
def test_what_each_check_says(check: Check, state: str, found: str) -> None:
    assert (check.state, check.found) == (state, found)
    assert check.state == "ok" or check.advice, "what is not ok comes with what to do"


def test_limits_of_a_container_are_read(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.current").write_text("536870912\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 268435456\n")
    assert (granted_cores(tmp_path), granted_bytes(tmp_path), used_bytes(tmp_path)) == (1.5, GIB, 2**28)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (granted_cores(tmp_path), granted_bytes(tmp_path)) == (None, None)


def test_limits_of_the_first_version_of_control_groups_are_read_too(tmp_path: Path) -> None:
    for path, text in {
        "cpu/cpu.cfs_quota_us": "50000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert (granted_cores(tmp_path), granted_bytes(tmp_path)) == (0.5, None)
    assert (granted_cores(tmp_path / "none"), granted_bytes(tmp_path / "none"), used_bytes(tmp_path / "none")) == (
        None,
        None,
        0,
    )


def test_credentials_are_found_and_never_told(tmp_path: Path) -> None:
    both = {"AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
    given = check_s3(both, tmp_path)
    half = check_s3({"AWS_ACCESS_KEY_ID": SECRET}, tmp_path)
    none = check_s3({}, tmp_path)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(SECRET)
    of_file = check_s3({}, tmp_path)
    assert [each.state for each in (given, half, none, of_file)] == ["ok", "problem", "ok", "ok"]
    assert half.found == "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not"
    assert none.found.startswith("no credentials found")
    assert ".aws/credentials" in of_file.found
    (tmp_path / "key.json").write_text(SECRET)
    there = check_gs({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")}, tmp_path)
    gone = check_gs({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "no.json")}, tmp_path)
    assert [each.state for each in (there, gone, check_gs({}, tmp_path))] == ["ok", "problem", "ok"]
    assert not [each for each in (given, half, of_file, there, gone) if SECRET in f"{each.found}{each.advice}"]


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    assert check_folder("working folder", str(tmp_path), "go elsewhere").name == "working folder"
    gone = check_folder("working folder", str(tmp_path / "gone"), "go elsewhere")
    assert (gone.state, gone.advice) == ("problem", "go elsewhere")
    assert list(tmp_path.iterdir()) == []


def test_nowhere_to_put_temporary_files_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    *_, last = check_disk()
    assert (last.name, last.state, last.found) == ("temporary files", "problem", "no usable temporary directory found")
    assert "TMPDIR" in str(last.advice)


def test_without_ray_there_is_still_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pipeline.ray.cluster", None)
    (only,) = check_ray()
    assert (only.name, only.state) == ("import", "problem")
    assert "--executor in-process" in str(only.advice)


def test_without_obstore_disks_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(buckets, "installed_version", lambda name: None)
    (only,) = check_buckets()
    assert (only.state, only.found) == ("ok", "obstore is not installed: disks alone can be used")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[profile mine]")
    profiles = check_s3({}, tmp_path)
    assert profiles.state == "warning"
    assert profiles.found.endswith("which need boto3")
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in check_s3({"AWS_WEB_IDENTITY_TOKEN_FILE": "token"}, tmp_path).found


def test_a_package_that_is_not_installed_says_so_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def metadata(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", metadata)
    (only,) = check_software()
    assert (only.name, only.state, only.advice) == (DISTRIBUTION, "warning", f"pip install {DISTRIBUTION}")


def test_the_worst_state_is_that_of_all_and_decides_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = (Check("a", "b", "ok", "fine"), Check("a", "c", "warning", "slow", "wait"))
    worse = (*checks, Check("a", "d", "problem", "gone", "get it"))
    assert [diagnosis(each).state for each in (checks[:1], checks, worse)] == ["ok", "warning", "problem"]
    for each, status, last in ((checks, 0, "0 problems, 1 warning."), (worse, 1, "1 problem, 1 warning.")):
        monkeypatch.setattr(families, "check_all", lambda each=each: iter(each))
        result = CliRunner().invoke(main, ["doctor"])
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (status, last)
        document = CliRunner().invoke(main, ["doctor", "--json"])
        assert document.exit_code == status
        assert [check["name"] for check in json.loads(document.stdout)["result"]["checks"]] == [c.name for c in each]


def test_a_family_that_fails_is_a_problem_and_the_others_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", {"broken": "no.such:module", "disk": families.FAMILIES["disk"]})
    broken, *others = families.check_all()
    assert (broken.family, broken.state) == ("broken", "problem")
    assert "No module named" in broken.found
    assert [each.family for each in others] == ["disk", "disk"]


def test_this_machine_is_looked_at_and_ray_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = CliRunner().invoke(main, ["doctor", "--json"])
    found = json.loads(result.stdout)["result"]
    assert {check["family"] for check in found["checks"]} == families.FAMILIES.keys()
    assert not [check for check in found["checks"] if check["name"] == "all"], "no family fails"
    assert not ray.is_initialized()
    cores = next(check for check in found["checks"] if check["name"] == "cores")
    assert cores["found"].startswith(f"{len(os.sched_getaffinity(0))} of ")
