"""Object stores that fail: for a moment, which is mended, or for good, which is one clear message, and soon."""

from __future__ import annotations

import logging
import random
import re
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unreliable_s3 import MOMENTARY, Fault, Request, UnreliableS3, always, each_request_fails_once

from storage.books import Books
from storage.driver_lock import DriverLock
from storage.locations import Location, locate
from storage.patch_store import PatchStore
from storage.shard_index import expand_shards

bucket = pytest.importorskip("storage.bucket", reason="obstore is not installed")

LARGE = random.Random(0).randbytes(12_000_000)
"""Two parts of an upload and a half; two reads of a stream."""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For buckets that are opened within the test."""
    monkeypatch.setattr(bucket, "FIRST_PAUSE", timedelta(milliseconds=1))
    bucket._open.cache_clear()
    yield
    bucket._open.cache_clear()


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is never answered."""
    monkeypatch.setattr(bucket, "FIRST_PATIENCE", timedelta(seconds=0.5))
    monkeypatch.setattr(bucket, "FIRST_TIMEOUT", "500ms")


@pytest.fixture
def quick_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses pass at once, and none of them within obstore."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(bucket, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(bucket, "SILENT_PATIENCE", timedelta(0))


@pytest.fixture
def place(faulty_s3: UnreliableS3, s3_bucket: str) -> Location:
    """A folder in a bucket that has answered."""
    place = locate(f"{s3_bucket}/{uuid.uuid4().hex}")
    place.exists("a")
    faulty_s3.forget()
    return place


def streamed(place: Location, path: str, length: int = -1) -> bytes:
    with place.open(path) as file:
        return b"".join(iter(lambda: file.read(length), b""))


OPERATIONS: dict[str, Callable[[Location], Any]] = {
    "read": lambda place: place.read("a"),
    "open": lambda place: place.open("a"),
    "size": lambda place: place.size("a"),
    "exists": lambda place: place.exists("a"),
    "names": lambda place: place.names("a"),
    "walk": lambda place: place.walk("a"),
    "write": lambda place: place.write("a", b""),
    "large write": lambda place: place.write("a", LARGE),
    "create": lambda place: place.create("a", b""),
    "delete": lambda place: place.delete("a"),
}


def refusal(place: Location, operation: str) -> str:
    """The message, which is one line, names the URL, comes soon and is not that of a missing file."""
    started = time.monotonic()
    with pytest.raises(OSError, match="/a: ") as caught:
        OPERATIONS[operation](place)
    assert time.monotonic() - started < 30
    assert not isinstance(caught.value, FileNotFoundError)
    message = str(caught.value)
    assert message.startswith(f"{place.url}/a: ")
    assert "\n" not in message
    return message.removeprefix(f"{place.url}/a: ")


@pytest.mark.parametrize("fault", MOMENTARY)
def test_whatever_is_asked_for_is_asked_for_again_when_it_fails_for_a_moment(
    fault: Fault, place: Location, faulty_s3: UnreliableS3
) -> None:
    faulty_s3.fault = each_request_fails_once([fault])
    place.write("folder/small", b"text")
    place.write("large", LARGE)
    place.create("created", b"once")
    assert place.read("created") == b"once"
    assert place.read("large") == LARGE
    assert streamed(place, "large") == LARGE
    assert (place.size("large"), place.exists("large"), place.exists("small")) == (len(LARGE), True, False)
    assert place.names() == ["created", "folder", "large"]
    assert place.walk() == ["created", "folder/small", "large"]
    place.delete("large")
    faulty_s3.forget()
    assert place.names() == ["created", "folder"]


@pytest.mark.parametrize("fault", MOMENTARY)
def test_the_first_question_to_a_bucket_may_fail_for_a_moment_too(
    fault: Fault, s3_bucket: str, faulty_s3: UnreliableS3
) -> None:
    faulty_s3.fault = each_request_fails_once([fault])
    assert locate(f"{s3_bucket}/{uuid.uuid4().hex}").names() == []


@pytest.mark.parametrize("length", [-1, 1_000_001, 50_000_000])
def test_a_stream_goes_on_where_it_broke_off_however_often(
    length: int, place: Location, faulty_s3: UnreliableS3
) -> None:
    place.write("large", LARGE)
    draw = random.Random(length)
    faults: tuple[Fault | None, ...] = (None, "cut", "dropped before", "cut", "busy")
    faulty_s3.fault = lambda _: draw.choice(faults)
    assert streamed(place, "large", length) == LARGE
    assert len(faulty_s3.requests) > 3


def test_a_stream_reads_in_few_requests_and_never_of_an_object_that_took_its_place(
    place: Location, faulty_s3: UnreliableS3
) -> None:
    place.write("large", LARGE)
    faulty_s3.forget()
    assert streamed(place, "large", 1000) == LARGE
    assert [request.method for request in faulty_s3.requests] == ["HEAD", "GET", "GET"]
    with place.open("large") as file:
        assert file.read(10) == LARGE[:10]
        place.write("large", LARGE[::-1])
        with pytest.raises(OSError, match=rf"^{place.url}/large: was replaced while it was read$"):
            file.read()


def test_an_upload_whose_completion_was_carried_out_but_not_answered_is_made_again(
    place: Location, faulty_s3: UnreliableS3
) -> None:
    """To the store it is then an upload that it knows no more."""

    def fault(request: Request) -> Fault | None:
        if request.method != "POST" or "uploadId" not in request.path or request.attempt > 1:
            return None
        return "unknown upload" if request.attempt else "dropped after"

    faulty_s3.fault = fault
    place.write("large", LARGE)
    assert place.read("large") == LARGE


@pytest.mark.parametrize("what_fails", ["partNumber=2", "uploadId=$"])
def test_an_upload_that_fails_in_the_middle_leaves_what_was_there(
    what_fails: str, place: Location, faulty_s3: UnreliableS3
) -> None:
    place.write("large", b"before")
    denied = always("denied", "PUT", "POST")
    faulty_s3.fault = lambda request: denied(request) if re.search(what_fails, request.path) else None
    with pytest.raises(OSError, match=r"large: access denied \(403 AccessDenied\): the credentials may not write"):
        place.write("large", LARGE)
    assert place.read("large") == b"before"
    with pytest.raises(OSError, match="may not write"):
        place.write("new", LARGE)
    assert place.walk() == ["large"]


@pytest.mark.usefixtures("quick_clock")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("busy", r"the store answered 503 (SlowDown|Service Unavailable) again and again for \d+ s"),
        ("dropped before", r"connections break off to http://127.0.0.1:\d+, tried for \d+ s"),
    ],
)
def test_when_patience_is_used_up_one_error_names_the_url_and_the_reason(
    fault: Fault, reason: str, place: Location, faulty_s3: UnreliableS3, caplog: pytest.LogCaptureFixture
) -> None:
    faulty_s3.fault = always(fault)
    for operation in OPERATIONS:
        caplog.clear()
        assert re.fullmatch(reason, refusal(place, operation))
        warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
        assert len(warnings) > 10, "what is waited for is said"
        for warning in warnings:
            assert re.fullmatch(rf"{place.url}/a: {reason}: trying again, for \d+ s at most", warning)


def test_what_is_tried_for_how_long_is_bounded() -> None:
    assert timedelta(minutes=3) == bucket.PATIENCE
    assert (timedelta(seconds=10), "10s") == (bucket.FIRST_PATIENCE, bucket.FIRST_TIMEOUT)


@pytest.mark.usefixtures("s3_bucket")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_missing_bucket_is_named_whatever_is_asked_of_it(scheme: str, operation: str) -> None:
    assert refusal(locate(f"{scheme}://missing/x"), operation) == "there is no bucket 'missing'"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_bucket_that_may_not_be_used_says_what_may_not_be_done(
    operation: str, place: Location, faulty_s3: UnreliableS3
) -> None:
    act = {"names": "list", "walk": "list", "write": "write", "large write": "write", "create": "write"}
    expected = act.get(operation, "delete" if operation == "delete" else "read")
    faulty_s3.fault = always("denied")
    assert refusal(place, operation) in (
        f"access denied (403 {answer}): the credentials may not {expected} there"
        for answer in ("AccessDenied", "Forbidden")
    )


def test_a_missing_bucket_is_not_called_a_store_or_a_tar_that_is_not_there(s3_bucket: str) -> None:
    with pytest.raises(OSError, match="there is no bucket 'missing'"):
        PatchStore.open("s3://missing/scores", "scores")
    with pytest.raises(OSError, match="there is no bucket 'missing'"):
        expand_shards(["s3://missing/shards"])
    with pytest.raises(FileNotFoundError, match="no store of scores there"):
        PatchStore.open(f"{s3_bucket}/scores", "scores")


NOWHERE = {
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
}
WITHOUT = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, **NOWHERE}


def test_credentials_that_the_store_does_not_know_are_told_at_the_first_question(faulty_s3: UnreliableS3) -> None:
    faulty_s3.fault = always("unknown key")
    with faulty_s3.environment(AWS_ACCESS_KEY_ID="mistyped"):
        message = refusal(locate("s3://bucket/x"), "names")
    assert message.startswith("the credentials are not accepted (403 InvalidAccessKeyId): set AWS_ACCESS_KEY_ID")
    assert len(faulty_s3.requests) == 1


def test_without_credentials_that_is_said_and_what_to_set(faulty_s3: UnreliableS3) -> None:
    with faulty_s3.environment(**WITHOUT):
        message = refusal(locate("s3://bucket/x"), "read")
    assert message.startswith("no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    with faulty_s3.environment(**WITHOUT, AWS_PROFILE="mistyped"):
        message = refusal(locate("s3://bucket/x"), "read")
    assert message == "the credentials cannot be used: The config profile (mistyped) could not be found"
    with faulty_s3.environment(**WITHOUT, AWS_SKIP_SIGNATURE="true"):
        assert locate("s3://bucket/x").names() == []


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of one that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("little_patience")
def test_a_machine_without_an_identity_is_not_waited_for(
    silent_server: str, faulty_s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where boto3, which looks for two seconds, is not installed."""
    monkeypatch.setitem(sys.modules, "obstore.auth.boto3", None)
    with faulty_s3.environment(**WITHOUT, AWS_METADATA_ENDPOINT=silent_server):
        assert refusal(locate("s3://bucket/x"), "read").startswith("no credentials were found: set AWS_ACCESS_KEY_ID")


def test_googles_credentials_are_looked_for_likewise(faulty_s3: UnreliableS3, tmp_path: Path) -> None:
    pytest.importorskip("google.auth")
    nowhere: dict[str, str | None] = {
        "GOOGLE_BEARER_TOKEN": None,
        "CLOUDSDK_CONFIG": str(tmp_path),
        "NO_GCE_CHECK": "true",
    }
    with faulty_s3.environment(**nowhere):
        message = refusal(locate("gs://bucket/x"), "read")
    assert message.startswith("no credentials were found: set GOOGLE_APPLICATION_CREDENTIALS or run gcloud auth")
    with faulty_s3.environment(**nowhere, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "mistyped.json")):
        message = refusal(locate("gs://bucket/x"), "read")
    assert message.startswith("the credentials cannot be used: File ")
    assert "mistyped.json was not found" in message


def test_keys_of_a_machine_are_asked_for_again_before_they_end(faulty_s3: UnreliableS3, tmp_path: Path) -> None:
    """boto3 renews them when they have 10 minutes left, at the latest."""
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    of_profile = {**WITHOUT, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    with faulty_s3.environment(**of_profile):
        assert bucket._boto3_credentials().ttl <= timedelta(minutes=10)
        assert locate("s3://bucket/x").names() == []


@pytest.mark.usefixtures("little_patience")
def test_where_nobody_answers_that_is_said(silent_server: str) -> None:
    with socket.socket() as taken:  # and not listened at
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for url, reason in ((closed, "connection refused"), (silent_server, "no answer in time")):
            with UnreliableS3(None).environment(AWS_ENDPOINT_URL=url):
                message = refusal(locate("s3://bucket/x"), "write")
            assert message.startswith(f"nothing answers at {url} ({reason}), tried for ")


def test_a_bucket_that_was_found_is_not_asked_again(place: Location, faulty_s3: UnreliableS3) -> None:
    for number in range(3):
        locate(place.url).write(str(number), b"")
    assert [request.method for request in faulty_s3.requests] == ["PUT"] * 3


def test_access_is_proved_by_three_requests(place: Location, faulty_s3: UnreliableS3) -> None:
    store = PatchStore.create_or_open(place.url, "scores", {})
    faulty_s3.forget()
    store.check_access()
    assert [request.method for request in faulty_s3.requests] == ["PUT", "GET", "POST"]


@pytest.mark.parametrize(("method", "act"), [("PUT", "write"), ("GET", "read"), ("POST", "delete")])
def test_access_that_lacks_one_right_says_which(
    method: str, act: str, place: Location, faulty_s3: UnreliableS3
) -> None:
    store = PatchStore.create_or_open(place.url, "scores", {})
    faulty_s3.fault = always("denied", method)
    with pytest.raises(OSError, match="cannot write, read and delete files there") as caught:
        store.check_access()
    reason = f"access denied (403 AccessDenied): the credentials may not {act} there"
    assert str(caught.value) == f"{place.url}/books: cannot write, read and delete files there: {reason}"


def test_a_store_that_is_read_only_is_refused_at_its_start(place: Location, faulty_s3: UnreliableS3) -> None:
    faulty_s3.fault = always("denied", "PUT")
    with pytest.raises(OSError, match=rf"^{place.url}/zarr.json: access denied .* may not write there$"):
        PatchStore.create_or_open(place.url, "scores", {})
    faulty_s3.forget()
    PatchStore.create_or_open(place.url, "scores", {})
    faulty_s3.fault = always("denied", "PUT")
    with pytest.raises(OSError, match=rf"^{place.url}/shards/zarr.json: access denied .* may not write there$"):
        PatchStore.create_or_open(place.url, "scores", {})


def test_a_driver_whose_claim_succeeded_without_an_answer_is_the_driver(
    place: Location, faulty_s3: UnreliableS3
) -> None:
    faulty_s3.fault = each_request_fails_once(["dropped after"])
    assert place.create("elsewhere", b"") is None, "it is there, and that it was made here cannot be told"
    with DriverLock(place) as lock:
        assert place.names("books/drivers") == ["000001.json"]
        assert not lock.lost
    assert place.names("books/drivers") == []


def test_a_listing_of_many_pages_is_whole(
    place: Location, faulty_s3: UnreliableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        place.write(f"books/records/tar-{number:02}.json", b"")
    faulty_s3.forget()
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    assert Books(place).recorded() == {f"tar-{number:02}" for number in range(12)}
    assert [request.method for request in faulty_s3.requests] == ["GET"] * 3
