"""How fast work goes through, how long what is left will take, and how times are told."""

from __future__ import annotations

import pytest
from clocks import Clock

from pipeline.progress.display import Pace, duration


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.5, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.9, "1 h 00 min"),
        (11_400, "3 h 10 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 00 h"),
        (187_200.0, "2 d 04 h"),
        (40_000_000, "462 d 23 h"),
    ],
)
def test_durations_are_told_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def pace_of(clock: Clock, *points: tuple[float, int]) -> Pace:
    """`points`: seconds after the one before, things that are through."""
    pace = Pace(clock)
    for seconds, through in points:
        clock.now += seconds
        pace.at(through)
    return pace


def test_there_is_no_rate_before_something_came_through(clock: Clock) -> None:
    for points in ([], [(5, 0)], [(5, 0), (5, 0)]):
        pace = pace_of(clock, *points)
        assert (pace.rate, pace.seconds_for(10)) == (0, None)


def test_rate_and_time_left_are_true_and_do_not_count_the_start(clock: Clock) -> None:
    pace = pace_of(clock, (60, 0), (10, 20), (10, 40))
    assert pace.rate == pytest.approx(2)
    assert pace.seconds_for(100) == pytest.approx(50)
    assert pace.seconds_for(0) == 0


def test_what_an_earlier_run_did_is_not_counted(clock: Clock) -> None:
    pace = pace_of(clock, (3, 900), (10, 905))
    assert pace.rate == pytest.approx(0.5)


def test_the_rate_is_that_of_the_last_two_minutes(clock: Clock) -> None:
    fast = [(1.0, 10 * second) for second in range(100)]
    slow = [(1.0, 990 + second) for second in range(1, 140)]
    assert pace_of(clock, *fast).rate == pytest.approx(10)
    assert pace_of(clock, *fast, *slow).rate == pytest.approx(1)


def test_a_long_silence_counts(clock: Clock) -> None:
    assert pace_of(clock, (0, 0), (1, 10), (999, 20)).rate == pytest.approx(0.01, rel=0.01)


def test_work_that_is_lost_gives_no_rate_below_zero(clock: Clock) -> None:
    assert pace_of(clock, (0, 50), (10, 20)).rate == 0


def test_what_a_pace_keeps_is_bounded(clock: Clock) -> None:
    pace = pace_of(clock, *((1.0, second) for second in range(1000)))
    assert len(pace._points) < 125
