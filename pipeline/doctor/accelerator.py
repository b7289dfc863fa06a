"""What is computed on, and in which arithmetic."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.doctor.check import Check

FAMILY = "accelerator"
VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/version")
GIB = 2**30


def check_accelerator() -> Iterator[Check]:
    """GPUs, whether torch can use them, and the precision that scores and trainings then have."""
    import torch

    from stages.compute.devices import resolve_device
    from stages.density.precision import fastest_trusted
    from stages.training.recipe import fastest_precision

    visible, has_driver = os.environ.get(VISIBLE_VARIABLE), DRIVER.exists()
    yield check_visible(visible, has_driver)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            free, total = torch.cuda.mem_get_info(number)
            yield check_gpu(number, properties.name, free, total)
    else:
        yield check_absent(has_driver, torch.version.cuda, hidden=visible is not None and visible.strip() in ("", "-1"))
    device = torch.device(resolve_device("auto"))
    scores, trainings = fastest_trusted(device), fastest_precision(device)
    yield Check(FAMILY, "precision", "ok", f"auto on {device.type}: {scores} for scores, {trainings} for trainings")


def check_visible(value: str | None, has_driver: bool) -> Check:
    """What CUDA_VISIBLE_DEVICES says."""
    if value is None:
        return Check(FAMILY, VISIBLE_VARIABLE, "ok", "not set")
    if value.strip() in ("", "-1") and has_driver:
        found = "hides every GPU of this machine"
        return Check(FAMILY, VISIBLE_VARIABLE, "warning", found, f"unset {VISIBLE_VARIABLE}, if that is not meant")
    return Check(FAMILY, VISIBLE_VARIABLE, "ok", repr(value[:80]))


def check_gpu(number: int, name: str, free: int, total: int) -> Check:
    """Bytes of memory of one GPU; others may be using it."""
    found = f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < 2 * GIB:
        return Check(FAMILY, f"GPU {number}", "warning", found, "end what else runs there: nvidia-smi lists it")
    return Check(FAMILY, f"GPU {number}", "ok", found)


def check_absent(has_driver: bool, built_for: str | None, *, hidden: bool) -> Check:
    """torch sees no GPU. `built_for`: its version of CUDA, None without."""
    if not has_driver or hidden:
        return Check(FAMILY, "GPU", "ok", "none: everything is computed on the CPU")
    if built_for is None:
        advice = "install torch and torchvision for CUDA: pytorch.org says from which index"
        return Check(FAMILY, "GPU", "problem", "there is one, but this torch was built without CUDA", advice)
    found = f"there is one, but torch, built for CUDA {built_for}, cannot use it"
    advice = "bring driver and torch to versions that fit: nvidia-smi tells the driver's"
    return Check(FAMILY, "GPU", "problem", found, advice)
