"""Global random numbers of Python and NumPy that belong to a thing, for libraries that take no generator."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from stages.compute.global_draws import global_draws


def drawn(*identity: str | int) -> tuple[float, float, int]:
    with global_draws(*identity) as seed:
        return random.random(), np.random.rand(), seed


def test_what_is_drawn_belongs_to_the_identity() -> None:
    first = drawn(0, "key", 3)
    assert drawn(0, "key", 3) == first
    others = [drawn(0, "key", 4), drawn(1, "key", 3), drawn(0, "other", 3)]
    for python, numpy, seed in others:
        assert python != first[0]
        assert numpy != first[1]
        assert seed != first[2]
    assert all(0 <= seed < 2**63 for *_, seed in [first, *others])


def test_global_numbers_go_on_where_they_were_and_those_of_torch_are_not_touched() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    before = torch.get_rng_state()
    drawn(1)
    assert (random.random(), np.random.rand()) == expected
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_do_not_draw_each_others_numbers() -> None:
    identities = list(range(300))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(drawn, identities))
    assert found == [drawn(each) for each in identities]
