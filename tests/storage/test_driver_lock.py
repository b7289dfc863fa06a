"""One driver at a time: a second one is refused, a dead one does not block."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from drivers import FIRST, state_of, until, write_elsewhere
from repository import ROOT

from storage.driver_lock import PATIENCE_SECONDS, DriverLock, DriverState, StoreBusy, current_driver
from storage.locations import Location, locate


@contextmanager
def another_process(place: Location) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is killed."""
    program = (
        "import sys, time\n"
        "from storage.driver_lock import DriverLock\n"
        "from storage.locations import locate\n"
        "with DriverLock(locate(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, place.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def must_not_wait(seconds: float) -> None:
    raise AssertionError(f"waits {seconds} s")


def test_the_lock_is_a_file_while_it_is_held_and_none_afterwards(location: Location) -> None:
    with DriverLock(location) as lock:
        assert location.names("books/drivers") == ["000001.json"]
        assert state_of(location)["pid"] == os.getpid()
        assert not lock.lost
    assert location.names("books/drivers") == []
    with DriverLock(location):
        pass


def test_a_second_driver_in_the_same_process_is_refused(location: Location) -> None:
    with DriverLock(location):
        with pytest.raises(StoreBusy, match=f"another driver works on it: process {os.getpid()} on ") as caught:
            DriverLock(location, wait=must_not_wait).__enter__()
        assert location.url in str(caught.value)
        assert location.names("books/drivers") == ["000001.json"]


def test_a_second_driver_is_refused_while_another_process_lives_and_not_when_it_was_killed(
    tmp_path: Path,
) -> None:
    place = locate(tmp_path)
    with another_process(place) as process:
        with pytest.raises(StoreBusy, match=f"process {process.pid} on "):
            DriverLock(place, wait=must_not_wait).__enter__()
        assert current_driver(place) is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert place.names("books/drivers") == ["000001.json"]
    assert current_driver(place) is None
    with DriverLock(place, wait=must_not_wait):
        assert place.names("books/drivers") == ["000002.json"]


def test_a_driver_that_has_ended_but_was_not_waited_for_is_dead(tmp_path: Path) -> None:
    place = locate(tmp_path)
    with another_process(place) as process:
        process.send_signal(signal.SIGKILL)
        until(lambda: current_driver(place) is None)  # a zombie until the block ends
        with DriverLock(place, wait=must_not_wait):
            pass


def test_a_later_process_of_the_same_number_is_not_the_driver(tmp_path: Path) -> None:
    place = locate(tmp_path)
    with DriverLock(place):
        mine = state_of(place)
    place.write(FIRST, json.dumps({**mine, "process_started": "1"}).encode())
    assert current_driver(place) is None
    with DriverLock(place, wait=must_not_wait):
        pass


def test_a_process_that_may_not_be_looked_at_counts_as_alive_while_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    driver = DriverState("here", os.getpid(), "another start", 1, 0.0, ())
    assert not driver.is_alive_here

    def hidden(_: Path) -> bytes:  # as on machines that hide what others run
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", hidden)
    assert driver.is_alive_here
    assert not dataclasses.replace(driver, pid=ended.pid).is_alive_here


def test_a_driver_elsewhere_is_alive_if_its_file_changes_while_one_waits(location: Location) -> None:
    write_elsewhere(location, renewals=7)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        write_elsewhere(location, renewals=8)

    with pytest.raises(StoreBusy, match="process 4711 on node-7"):
        DriverLock(location, wait=wait).__enter__()
    assert waited == [PATIENCE_SECONDS]
    assert location.names("books/drivers") == ["000001.json"]


def test_a_driver_elsewhere_is_dead_if_its_file_stays_the_same_whatever_its_clock_says(
    location: Location,
) -> None:
    write_elsewhere(location, renewed_at=time.time() + 3600)
    waited: list[float] = []
    with DriverLock(location, wait=waited.append):
        assert location.names("books/drivers") == ["000002.json"]
    assert waited == [PATIENCE_SECONDS]


def test_a_driver_elsewhere_that_ends_while_one_waits_does_not_block(location: Location) -> None:
    write_elsewhere(location)
    with DriverLock(location, wait=lambda _: location.delete(FIRST)):
        assert location.names("books/drivers") == ["000002.json"]


@pytest.mark.parametrize("content", [b"", b"junk", b"[]", b'{"pid": "1"}'])
def test_a_file_that_is_no_drivers_does_not_block(tmp_path: Path, content: bytes) -> None:
    place = locate(tmp_path)
    place.write(FIRST, content)
    place.write("books/drivers/notes.json", b"mine")
    assert current_driver(place) is None
    with DriverLock(place, wait=must_not_wait):
        assert place.names("books/drivers") == ["000002.json", "notes.json"]


def test_a_driver_elsewhere_is_waited_for_once_and_that_is_said_with_the_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = locate(tmp_path)
    write_elsewhere(place)
    with DriverLock(place, wait=lambda _: None):
        (said,) = (each.getMessage() for each in caplog.records)
    assert said == (
        f"{tmp_path}: a driver on another machine (process 4711 on node-7/1a2b3c4d/1) is in its books: "
        "waiting 15 s to see whether it lives"
    )


def test_what_was_remembered_of_another_machines_file_is_not_believed_when_a_listing_lacks_it(tmp_path: Path) -> None:
    """A client of NFS remembers a file for a while; listing its folder makes it look again."""
    place = locate(tmp_path)
    write_elsewhere(place)
    read, asked = place.read, []

    def remembered(path: str = "") -> bytes:
        asked.append("read")
        return read(path)

    names = place.names

    def listed(prefix: str = "") -> list[str]:
        asked.append("list")
        return names(prefix)

    place.read, place.names = remembered, listed  # type: ignore[method-assign]
    with DriverLock(place, wait=lambda _: asked.append("wait")):
        pass
    assert asked[:5] == ["list", "read", "wait", "list", "read"]


def test_a_driver_is_told_apart_from_every_other_of_its_process(tmp_path: Path) -> None:
    locks = [DriverLock(locate(tmp_path / name)) for name in "ab"]
    with locks[0], locks[1]:
        claims = {state_of(lock.place)["claim"] for lock in locks}
    assert len(claims) == 2


@pytest.mark.parametrize("created", [True, False])
def test_a_refused_creation_counts_if_the_file_holds_the_drivers_own_claim(location: Location, created: bool) -> None:
    """The store may have created it, and its answer been lost, so that the question was asked twice."""
    create = location.create

    def ask_twice(path: str, data: bytes) -> str | None:
        if created:
            create(path, data)
        else:
            write_elsewhere(location, path=path)
        return create(path, data)

    location.create = ask_twice  # type: ignore[method-assign]
    if created:
        with DriverLock(location):
            assert location.names("books/drivers") == ["000001.json"]
    else:
        with pytest.raises(StoreBusy, match="at the same moment"):
            DriverLock(location).__enter__()


def test_a_lock_that_cannot_be_given_back_does_not_undo_what_was_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = locate(tmp_path)

    def unreachable(path: str) -> None:
        raise OSError("out of reach")

    with DriverLock(place):
        place.delete = unreachable  # type: ignore[method-assign]
    assert [each.getMessage() for each in caplog.records] == [
        f"{tmp_path}/{FIRST}: not removed (out of reach): the next driver may wait 15 s"
    ]


def test_of_drivers_that_start_at_the_same_moment_one_wins(location: Location) -> None:
    write_elsewhere(location)  # dead: all wait for it, and then claim the same number
    together = threading.Barrier(4)
    ended = threading.Barrier(4)

    def wait(_: float) -> None:
        together.wait(10)

    def start(_: int) -> bool:
        try:
            with DriverLock(location, wait):
                ended.wait(10)
                return True
        except StoreBusy:
            ended.wait(10)
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(start, range(4))) == [False, False, False, True]
    assert location.names("books/drivers") == []


def test_a_driver_that_looked_before_others_came_and_went_gives_way_to_the_present_one(
    location: Location,
) -> None:
    """It claims a number that is free again, and lower than that of the driver at work."""
    late = DriverLock(location)
    create = location.create

    def create_late(path: str, data: bytes) -> str | None:
        write_elsewhere(location, path="books/drivers/000002.json")
        return create(path, data)

    location.create = create_late  # type: ignore[method-assign]
    with pytest.raises(StoreBusy, match="at the same moment"):
        late.__enter__()
    assert location.names("books/drivers") == ["000002.json"]
