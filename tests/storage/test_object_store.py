"""Object stores that fail for a moment: what was asked is asked again, and few questions are asked."""

from __future__ import annotations

import random
import re
import uuid

import pytest
from unreliable_s3 import MOMENTARY, Fault, Request, UnreliableS3, always, each_request_fails_once

from storage.books import Books
from storage.driver_lock import DriverLock
from storage.locations import Location, locate
from storage.patch_store import PatchStore

pytest.importorskip("obstore", reason="obstore is not installed")

pytestmark = pytest.mark.usefixtures("short_pauses")

LARGE = random.Random(0).randbytes(12_000_000)
"""Two parts of an upload and a half; two reads of a stream."""


def streamed(place: Location, path: str, length: int = -1) -> bytes:
    with place.open(path) as file:
        return b"".join(iter(lambda: file.read(length), b""))


@pytest.mark.parametrize("fault", MOMENTARY)
def test_whatever_is_asked_for_is_asked_for_again_when_it_fails_for_a_moment(
    fault: Fault, s3_folder: Location, faulty_s3: UnreliableS3
) -> None:
    faulty_s3.fault = each_request_fails_once([fault])
    s3_folder.write("folder/small", b"text")
    s3_folder.write("large", LARGE)
    s3_folder.create("created", b"once")
    assert s3_folder.read("created") == b"once"
    assert s3_folder.read("large") == LARGE
    assert streamed(s3_folder, "large") == LARGE
    assert (s3_folder.size("large"), s3_folder.exists("large"), s3_folder.exists("small")) == (len(LARGE), True, False)
    assert s3_folder.names() == ["created", "folder", "large"]
    assert s3_folder.walk() == ["created", "folder/small", "large"]
    s3_folder.delete("large")
    faulty_s3.forget()
    assert s3_folder.names() == ["created", "folder"]


@pytest.mark.parametrize("fault", MOMENTARY)
def test_the_first_question_to_a_bucket_may_fail_for_a_moment_too(
    fault: Fault, s3_bucket: str, faulty_s3: UnreliableS3
) -> None:
    faulty_s3.fault = each_request_fails_once([fault])
    assert locate(f"{s3_bucket}/{uuid.uuid4().hex}").names() == []


@pytest.mark.parametrize("length", [-1, 1_000_001, 50_000_000])
def test_a_stream_goes_on_where_it_broke_off_however_often(
    length: int, s3_folder: Location, faulty_s3: UnreliableS3
) -> None:
    s3_folder.write("large", LARGE)
    draw = random.Random(length)
    faults: tuple[Fault | None, ...] = (None, "cut", "dropped before", "cut", "busy")
    faulty_s3.fault = lambda _: draw.choice(faults)
    assert streamed(s3_folder, "large", length) == LARGE
    assert len(faulty_s3.requests) > 3


def test_a_stream_reads_in_few_requests_and_never_of_an_object_that_took_its_place(
    s3_folder: Location, faulty_s3: UnreliableS3
) -> None:
    s3_folder.write("large", LARGE)
    faulty_s3.forget()
    assert streamed(s3_folder, "large", 1000) == LARGE
    assert [request.method for request in faulty_s3.requests] == ["HEAD", "GET", "GET"]
    with s3_folder.open("large") as file:
        assert file.read(10) == LARGE[:10]
        s3_folder.write("large", LARGE[::-1])
        with pytest.raises(OSError, match=rf"^{s3_folder.url}/large: was replaced while it was read$"):
            file.read()


def test_an_upload_whose_completion_was_carried_out_but_not_answered_is_made_again(
    s3_folder: Location, faulty_s3: UnreliableS3
) -> None:
    """To the store it is then an upload that it knows no more."""

    def fault(request: Request) -> Fault | None:
        if request.method != "POST" or "uploadId" not in request.path or request.attempt > 1:
            return None
        return "unknown upload" if request.attempt else "dropped after"

    faulty_s3.fault = fault
    s3_folder.write("large", LARGE)
    assert s3_folder.read("large") == LARGE


@pytest.mark.parametrize("what_fails", ["partNumber=2", "uploadId=$"])
def test_an_upload_that_fails_in_the_middle_leaves_what_was_there(
    what_fails: str, s3_folder: Location, faulty_s3: UnreliableS3
) -> None:
    s3_folder.write("large", b"before")
    denied = always("denied", "PUT", "POST")
    faulty_s3.fault = lambda request: denied(request) if re.search(what_fails, request.path) else None
    with pytest.raises(OSError, match=r"large: access denied \(403 AccessDenied\): the credentials may not write"):
        s3_folder.write("large", LARGE)
    assert s3_folder.read("large") == b"before"
    with pytest.raises(OSError, match="may not write"):
        s3_folder.write("new", LARGE)
    assert s3_folder.walk() == ["large"]


def test_a_bucket_that_was_found_is_not_asked_again(s3_folder: Location, faulty_s3: UnreliableS3) -> None:
    for number in range(3):
        locate(s3_folder.url).write(str(number), b"")
    assert [request.method for request in faulty_s3.requests] == ["PUT"] * 3


def test_access_is_proved_by_three_requests(s3_folder: Location, faulty_s3: UnreliableS3) -> None:
    store = PatchStore.create_or_open(s3_folder.url, "scores", {})
    faulty_s3.forget()
    store.check_access()
    assert [request.method for request in faulty_s3.requests] == ["PUT", "GET", "POST"]


def test_a_driver_whose_claim_succeeded_without_an_answer_is_the_driver(
    s3_folder: Location, faulty_s3: UnreliableS3
) -> None:
    faulty_s3.fault = each_request_fails_once(["dropped after"])
    assert s3_folder.create("elsewhere", b"") is None, "it is there, and that it was made here cannot be told"
    with DriverLock(s3_folder) as lock:
        assert s3_folder.names("books/drivers") == ["000001.json"]
        assert not lock.lost
    assert s3_folder.names("books/drivers") == []


def test_a_listing_of_many_pages_is_whole(
    s3_folder: Location, faulty_s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        s3_folder.write(f"books/records/tar-{number:02}.json", b"")
    faulty_s3.forget()
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    assert Books(s3_folder).recorded() == {f"tar-{number:02}" for number in range(12)}
    assert [request.method for request in faulty_s3.requests] == ["GET"] * 3
