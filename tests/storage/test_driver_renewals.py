"""A driver tells that it lives, and notices when it is the driver no more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from drivers import FIRST, state_of, until, write_elsewhere

from storage import driver_lock
from storage.driver_lock import PATIENCE_SECONDS, DriverLock, current_driver
from storage.locations import Location, locate


def test_the_file_is_renewed_with_the_shards_under_way(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_lock, "RENEWAL_SECONDS", 0.01)
    with DriverLock(location) as lock:
        lock.running = ["tar-1", "tar-2"]
        until(lambda: state_of(location)["running"] == ["tar-1", "tar-2"])
        driver = current_driver(location)
        assert driver is not None
        assert driver.running == ("tar-1", "tar-2")
        assert driver.renewals > 1


def test_a_driver_notices_that_another_one_took_over(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_lock, "RENEWAL_SECONDS", 0.01)
    with DriverLock(location) as lock:
        write_elsewhere(location, path="books/drivers/000002.json")  # its own file may be there or not
        until(lambda: lock.lost)
    assert location.names("books/drivers") == ["000002.json"]


def test_a_driver_whose_file_was_removed_has_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_lock, "RENEWAL_SECONDS", 0.01)
    place = locate(tmp_path)
    with DriverLock(place) as lock:

        def has_lost() -> bool:
            place.delete(FIRST)  # again, since a renewal under way may have put it back
            return lock.lost

        until(has_lost)


def test_a_store_out_of_reach_for_a_moment_does_not_end_the_renewals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_lock, "RENEWAL_SECONDS", 0.01)
    place = locate(tmp_path)
    write, failed = place.write, 0

    def unreliable(path: str, data: bytes) -> None:
        nonlocal failed
        if failed < 3:
            failed += 1
            raise OSError("unreachable")
        write(path, data)

    with DriverLock(place) as lock:
        place.write = unreliable  # type: ignore[method-assign]
        until(lambda: failed == 3 and state_of(place)["renewals"] > 1)
        assert not lock.lost


def test_the_current_driver_elsewhere_is_believed_for_a_while(tmp_path: Path) -> None:
    place = locate(tmp_path)
    assert current_driver(place) is None
    write_elsewhere(place)
    driver = current_driver(place)
    assert driver is not None
    assert (driver.pid, driver.running, driver.is_here) == (4711, ("tar-3",), False)
    write_elsewhere(place, renewed_at=time.time() - 3 * PATIENCE_SECONDS)
    assert current_driver(place) is None
