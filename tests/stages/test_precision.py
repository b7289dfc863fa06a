"""Scores in sixteen bits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from random_maes import DEEPER, random_images, random_mae, random_visible

from ranker.metrics import kendall_tau
from stages.density import precision as precision_of_scores
from stages.density.precision import fastest_trusted
from stages.density.removal import REMOVALS
from stages.density.scorer import DensityScorer
from stages.training.recipe import fastest_precision


@pytest.mark.parametrize(("precision", "least_tau"), [("fp16", 0.97), ("bf16", 0.9)])
@pytest.mark.parametrize("removal", REMOVALS)
def test_scores_in_sixteen_bits_rank_nearly_as_in_fp32(removal, precision, least_tau):
    model, images, visible = random_mae(DEEPER), random_images(DEEPER, 16), random_visible(DEEPER, 16, 8)
    exact = DensityScorer(model, removal=removal)(images, visible)
    rounded = DensityScorer(model, removal=removal, precision=precision)(images, visible)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert kendall_tau(exact, rounded).mean() > least_tau


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "library", "expected"),
    [
        ({"avx2": True, "avx512_f": True}, True, "fp32"),
        ({"avx2": True, "avx512_bf16": True}, True, "bf16"),
        ({"avx512_bf16": True, "amx_tile": True, "amx_bf16": True}, True, "bf16"),
        ({"neon": True, "bf16": True}, True, "bf16"),
        ({"neon": True, "bf16": False}, True, "fp32"),
        ({"avx512_bf16": True}, False, "fp32"),
        ({}, True, "fp32"),
    ],
)
def test_the_instructions_of_a_cpu_decide(
    capabilities: dict[str, bool], library: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_of_scores, "_capabilities", lambda: capabilities)
    monkeypatch.setattr(precision_of_scores, "_library_multiplies_bf16", lambda: library)
    assert fastest_trusted(CPU) == expected


def test_they_are_those_that_the_operating_system_tells() -> None:
    file = Path("/proc/cpuinfo")
    if not file.exists():
        pytest.skip("no /proc/cpuinfo on this machine")
    lines = [line.partition(":") for line in file.read_text().splitlines()]
    flags = next((value.split() for name, _, value in lines if name.strip() in ("flags", "Features")), [])
    told = bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))
    assert any(precision_of_scores._capabilities().get(name) for name in precision_of_scores._BF16_PRODUCTS) == told


def test_an_older_pytorch_is_asked_by_its_own_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert precision_of_scores._capabilities() == {"avx512_bf16": True, "amx_bf16": False}
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert precision_of_scores._capabilities() == {}


def test_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy, or has another number of threads, makes the same store. Threads that other tests left
    may look at clocks: Zarr's would end, and its next user would wait for ever."""

    def refused_here(clock: Callable[[], float]) -> Callable[[], float]:
        def look() -> float:
            assert threading.current_thread() is not threading.main_thread(), "a clock was looked at"
            return clock()

        return look

    for name in ("perf_counter", "monotonic", "time", "process_time"):
        monkeypatch.setattr(time, name, refused_here(getattr(time, name)))
    assert fastest_trusted(CPU) == fastest_trusted(CPU)


def test_a_gpu_takes_fp16_for_scores_and_trains_in_bf16_only_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = torch.device("cuda")
    assert fastest_trusted(gpu) == "fp16"
    for native, expected in ((True, "bf16"), (False, "fp16")):

        def is_supported(including_emulation: bool = True, native: bool = native) -> bool:
            return native or including_emulation

        monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
        assert fastest_precision(gpu) == expected
    assert fastest_precision(CPU) == "fp32"


def test_the_precision_of_a_cpu_is_one_that_its_scorer_takes():
    precision = fastest_trusted(torch.device("cpu"))
    assert precision in ("fp32", "bf16")
    DensityScorer(random_mae(DEEPER), precision=precision)(random_images(DEEPER, 1), random_visible(DEEPER, 1, 5))
