"""Python, and the packages that the pipeline needs."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pipeline.doctor.check import Check
from pipeline.packages import DISTRIBUTION

FAMILY = "software"
SHOWN = ("torch", "torchvision", "timm", "ray", "zarr", "numpy")
"""Those whose versions are told even where nothing is wrong."""
EXTRAS = ("s3", "gcs", "azure", "onnx", "cluster")


def check_software() -> Iterator[Check]:
    """Versions against what the package asks for."""
    try:
        own = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        found = "not installed: what it needs is not known"
        yield Check(FAMILY, DISTRIBUTION, "warning", found, f"pip install {DISTRIBUTION}")
        return
    yield Check(FAMILY, DISTRIBUTION, "ok", str(own["Version"]))
    yield check_python(platform.python_version(), str(own["Requires-Python"] or ""))
    needed = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION) or []]
    always = [each for each in needed if _asks(each, "")]
    fine = 0
    for each in always:
        check = check_package(each, installed_version(each.name))
        if check.state != "ok" or each.name in SHOWN:
            yield check
        else:
            fine += 1
    yield Check(FAMILY, "other packages", "ok", f"{fine} as needed")
    yield check_pair(importlib.metadata.requires("torchvision") or [], installed_version("torch"))
    yield _check_operators()
    yield _extras(needed)


def check_python(version: str, needed: str) -> Check:
    """Of the interpreter that runs."""
    if SpecifierSet(needed).contains(version, prereleases=True):
        return Check(FAMILY, "Python", "ok", version)
    found = f"{version}, expected {needed}"
    return Check(FAMILY, "Python", "problem", found, f"make an environment of Python {needed}")


def check_package(needed: Requirement, version: str | None) -> Check:
    """Whether it is there, in a version that is asked for."""
    if version is None:
        found = f"not installed, expected {needed.specifier}"
    elif needed.specifier.contains(version, prereleases=True):
        return Check(FAMILY, needed.name, "ok", version)
    else:
        found = f"{version}, expected {needed.specifier}"
    return Check(FAMILY, needed.name, "problem", found, f"pip install '{needed.name}{needed.specifier}'")


def check_pair(needs: list[str], torch: str | None) -> Check:
    """Whether torchvision was built for the torch that is there, by what it says of itself."""
    asked = next((each for each in map(Requirement, needs) if each.name == "torch"), None)
    if torch is None or asked is None:
        return Check(FAMILY, "torch and torchvision", "problem", "not both are there", "pip install torch torchvision")
    if asked.specifier.contains(torch, prereleases=True):
        return Check(FAMILY, "torch and torchvision", "ok", "made for each other")
    return Check(
        FAMILY,
        "torch and torchvision",
        "problem",
        f"torchvision was made for torch {asked.specifier}, got {torch}",
        "pip install --upgrade torch torchvision, both in one command and from one index",
    )


def installed_version(name: str) -> str | None:
    """None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_operators() -> Check:
    """What fails first where the two do not fit, whatever their versions say."""
    try:
        import torch
        from torchvision.ops import nms  # type: ignore[import-untyped]

        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except (ImportError, RuntimeError, AttributeError) as error:
        found = " ".join(str(error).split())[:200]
        return Check(FAMILY, "torchvision's operators", "problem", found, "pip install --force-reinstall torchvision")
    return Check(FAMILY, "torchvision's operators", "ok", "they run")


def _extras(needed: list[Requirement]) -> Check:
    """They are for those who use them."""
    there: list[str] = []
    absent: list[str] = []
    for extra in EXTRAS:
        own = [each for each in needed if _asks(each, extra) and not _asks(each, "")]
        whole = all((version := installed_version(each.name)) and each.specifier.contains(version) for each in own)
        (there if own and whole else absent).append(extra)
    found = f"{', '.join(there) or 'none'} installed" + (f"; {', '.join(absent)} not" if absent else "")
    advice = f"where you need one: pip install '{DISTRIBUTION}[{absent[0]}]'" if absent else None
    return Check(FAMILY, "extras", "ok", found, advice)


def _asks(needed: Requirement, extra: str) -> bool:
    """Whether an installation with that extra, or "" for none, needs it."""
    return needed.marker is None or needed.marker.evaluate({"extra": extra})
