"""An S3 on loopback that can fail as real ones do: it says that it is busy, drops connections before or after it has
done what was asked, cuts answers in the middle, or denies access.

with unreliable_s3() as server, server.environment():
    server.fault = each_request_fails_once()
    locate("s3://bucket/x").write("a", b"text")

Google Cloud Storage speaks nearly the same language to obstore, so that gs://bucket/x leads there too.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import logging
import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

Fault = Literal[
    "busy", "internal error", "dropped before", "dropped after", "cut", "denied", "unknown key", "unknown upload"
]
MOMENTARY: tuple[Fault, ...] = ("busy", "internal error", "dropped before", "dropped after", "cut")

REFUSALS = {
    "busy": ("503 Slow Down", "SlowDown"),
    "internal error": ("500 Internal Server Error", "InternalError"),
    "denied": ("403 Forbidden", "AccessDenied"),
    "unknown key": ("403 Forbidden", "InvalidAccessKeyId"),
    "unknown upload": ("404 Not Found", "NoSuchUpload"),
}
"""Status and code of the answer; nothing is done before it."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """With its query, without the numbers that uploads are given."""
    attempt: int
    """How often it has come before."""


def no_fault(_: Request) -> Fault | None:
    return None


def each_request_fails_once(faults: Iterable[Fault] = MOMENTARY) -> Callable[[Request], Fault | None]:
    """The first attempt of every request fails, in another way each time."""
    ways = itertools.cycle(faults)
    return lambda request: next(ways) if request.attempt == 0 else None


def always(fault: Fault, *methods: str) -> Callable[[Request], Fault | None]:
    """Every request fails; with `methods` those alone."""
    return lambda request: fault if not methods or request.method in methods else None


class UnreliableS3:
    """`fault` decides what happens to a request; `requests` are those that came."""

    def __init__(self, application: Any) -> None:
        self.fault: Callable[[Request], Fault | None] = no_fault
        self.requests: list[Request] = []
        self.url = ""
        self._application = application
        self._lock = threading.Lock()
        self._attempts: Counter[tuple[str, str]] = Counter()

    def forget(self) -> None:
        """Those that came, and the fault."""
        self.fault = no_fault
        self.requests.clear()
        self._attempts.clear()

    def settings(self) -> dict[str, str]:
        """The environment variables that lead to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "GOOGLE_BASE_URL": self.url,
            "GOOGLE_BEARER_TOKEN": "testing",
        }

    @contextlib.contextmanager
    def environment(self, **others: str | None) -> Iterator[None]:
        """What a user sets to work with it; `others` besides or instead, None to leave one out."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.settings(), **others}.items():
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
            yield

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            query = re.sub(r"uploadId=[^&]*", "uploadId=", environ["QUERY_STRING"])
            path = f"{environ['PATH_INFO']}?{query}".rstrip("?")
            method = environ["REQUEST_METHOD"]
            request = Request(method, path, self._attempts[method, path])
            self._attempts[method, path] += 1
            self.requests.append(request)
            fault = self.fault(request)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        if environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH") == "0":  # Google's words for it
            environ["HTTP_IF_NONE_MATCH"] = "*"
        if fault is None:
            return self._application(environ, start_response)
        if fault in REFUSALS:
            return refuse(start_response, *REFUSALS[fault])
        if fault == "dropped before":
            return hang_up(environ)
        status: list[Any] = []
        answer = b"".join(self._application(environ, lambda *all_of_it: status.extend(all_of_it[:2])))
        if fault == "dropped after" or len(answer) < 2:
            return hang_up(environ)
        start_response(*status)
        return itertools.chain([answer[: len(answer) // 2]], hang_up(environ))


def refuse(start_response: Callable[..., Any], status: str, code: str) -> list[bytes]:
    text = f"<Error><Code>{code}</Code><Message>said to be so</Message></Error>".encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))])
    return [text]


def hang_up(environ: dict[str, Any]) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError
    yield b""  # what makes this an iterator


@contextlib.contextmanager
def unreliable_s3() -> Iterator[UnreliableS3]:
    """Without faults at first, and with a bucket "bucket"."""
    pytest.importorskip("moto.server", reason="moto is not installed: no S3 to test against")
    boto3 = pytest.importorskip("boto3")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    unreliable = UnreliableS3(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, unreliable, threaded=True, request_handler=MotoRequestHandler)
    unreliable.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request takes as long as answering it
    try:
        with unreliable.environment():
            boto3.client("s3", region_name=os.environ["AWS_REGION"]).create_bucket(Bucket="bucket")
        unreliable.forget()
        yield unreliable
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def begin_upload(url: str, path: str, part: bytes) -> None:
    """Uploads a part of the object at `path` below `url`, as a client does that dies before it completes it."""
    bucket, _, prefix = url.partition("://")[2].partition("/")
    target = {"Bucket": bucket, "Key": f"{prefix}/{path}"}
    client = _client(os.environ["AWS_ENDPOINT_URL"])
    upload = client.create_multipart_upload(**target)
    client.upload_part(**target, UploadId=upload["UploadId"], PartNumber=1, Body=part)


@functools.cache
def _client(endpoint: str) -> Any:
    """boto3 reads megabytes of descriptions to make one."""
    import boto3

    return boto3.client("s3", region_name=os.environ["AWS_REGION"], endpoint_url=endpoint)
