"""Opening a bucket: credentials, time limits, and the first question, whether it is there and answers.

Credentials, region and endpoint come from where each cloud's own tools look: environment variables
(AWS_ENDPOINT_URL for other makers' S3), the machine's own identity and, where boto3 or google-auth are
installed, their profiles.

How long is tried: the first question to a bucket is repeated for 10 seconds (`FIRST_PATIENCE`), and one that is under
way then takes another 10 at most, so that a wrong address or missing credentials show within 20. Once a bucket has
answered, each operation is repeated for three minutes (`PATIENCE`), which outlasts a server that is restarted or asks
to slow down: by obstore without a word for 15 seconds, then by `repeat`, which says so in the log. Pauses grow from
0.1 to 15 seconds.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

import obstore
import obstore.exceptions
import obstore.store

from storage.bucket_errors import CREDENTIALS_ADVICE, is_missing_bucket, is_momentary, says_credentials_are_wrong, why

FIRST_PATIENCE = timedelta(seconds=10)
FIRST_TIMEOUT = "10s"
PATIENCE = timedelta(minutes=3)
SILENT_PATIENCE = timedelta(seconds=15)
REQUEST_TIMEOUT = "5m"  # obstore's 30 seconds are too few for a part of 5 MB on a slow line
SILENCE = "2m"  # of a server; of 12 parts of 5 MB at once the last may have to wait so long on a slow line
FIRST_PAUSE, LONGEST_PAUSE = timedelta(milliseconds=100), timedelta(seconds=15)
NO_SUCH_FILE = "no-such-file"
KEY_LIFE = timedelta(minutes=10)  # boto3 renews keys of a machine 10 to 15 minutes before they end
GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"  # accounts of services have none without asking

T = TypeVar("T")

log = logging.getLogger(__name__)

_in_memory: dict[str, Any] = {}


class BucketUnusable(OSError):  # noqa: N818
    """Why a bucket cannot be worked with; whoever wanted to adds the URL."""


def open_bucket(scheme: str, name: str) -> Any:
    """obstore's store for a bucket that is there and answers; within a process it is asked once. Raises
    BucketUnusable."""
    if scheme == "memory":
        return _in_memory.setdefault(name, obstore.store.MemoryStore())
    settings = (item for item in os.environ.items() if item[0].startswith(("AWS_", "GOOGLE_", "GCE_", "AZURE_")))
    return _open(scheme, name, tuple(sorted(settings)))


def repeat(request: Callable[[], T], patience: timedelta, told: Callable[[Exception], str]) -> T:
    """What `request` returns. Repeats it while it fails for a moment, and says what was `told` in the log."""
    give_up = time.monotonic() + patience.total_seconds()
    pause = FIRST_PAUSE.total_seconds()
    while True:
        try:
            return request()
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            left = give_up - time.monotonic()
            if not is_momentary(error) or pause > left:
                raise
            log.warning("%s: trying again, for %.0f s at most", told(error), left)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE.total_seconds())


@lru_cache(maxsize=64)
def _open(scheme: str, name: str, _: tuple[tuple[str, str], ...]) -> Any:
    credentials = _credentials(scheme)
    impatient = _store(scheme, name, credentials, FIRST_PATIENCE, {"timeout": FIRST_TIMEOUT})
    started = time.monotonic()

    def reason(error: Exception) -> str:
        return why(error, "read", scheme, name, time.monotonic() - started)

    def ask() -> None:
        obstore.get_range(impatient, NO_SUCH_FILE, start=0, length=1)

    try:
        repeat(ask, FIRST_PATIENCE, lambda error: f"{scheme}://{name}: {reason(error)}")
    except (FileNotFoundError, obstore.exceptions.BaseError) as error:
        answers = isinstance(error, FileNotFoundError | obstore.exceptions.PermissionDeniedError)
        if is_missing_bucket(error) or says_credentials_are_wrong(error) or not answers:
            raise BucketUnusable(reason(error)) from error
    return _store(scheme, name, credentials, SILENT_PATIENCE, {"timeout": REQUEST_TIMEOUT, "read_timeout": SILENCE})


def _store(scheme: str, name: str, credentials: Any, patience: timedelta, limits: dict[str, Any]) -> Any:
    variables = {"s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"), "gs": ("GOOGLE_BASE_URL",)}
    endpoints = [os.environ.get(variable, "") for variable in variables.get(scheme.replace("gcs", "gs"), ())]
    backoff = {"init_backoff": FIRST_PAUSE, "max_backoff": LONGEST_PAUSE, "base": 2}
    options: dict[str, Any] = {
        "client_options": {"allow_http": any(url.startswith("http://") for url in endpoints), **limits},
        # Time alone decides: ten attempts, obstore's own limit, may be over in a second.
        "retry_config": {"max_retries": 1000, "retry_timeout": patience, "backoff": backoff},
    }
    if scheme == "az":
        return obstore.store.AzureStore(name, **options)
    kind = obstore.store.S3Store if scheme == "s3" else obstore.store.GCSStore
    return kind(name, credential_provider=credentials, **options)


def _credentials(scheme: str) -> Any:
    """None where obstore finds them itself. BucketUnusable where there are none, rather than what obstore would do
    next: ask a metadata server that is not there."""
    if scheme == "s3":
        return _boto3_credentials()
    return None if scheme == "az" else _google_credentials()


def _boto3_credentials() -> Any:
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_SKIP_SIGNATURE"):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return None
    try:
        return Boto3CredentialProvider(ttl=KEY_LIFE)
    except import_module("botocore.exceptions").BotoCoreError as error:  # which has no types
        raise BucketUnusable(f"the credentials cannot be used: {error}") from error
    except ValueError:
        raise BucketUnusable(f"no credentials were found: {CREDENTIALS_ADVICE['s3']}") from None


def _google_credentials() -> Any:
    of_obstore = ("SERVICE_ACCOUNT", "SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT_KEY", "BEARER_TOKEN", "SKIP_SIGNATURE")
    if any(os.environ.get(f"GOOGLE_{name}") for name in of_obstore):
        return None
    with suppress(ImportError):  # without requests, or without google-auth
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from obstore.auth.google import GoogleCredentialProvider

        try:
            credentials, _ = google.auth.default(scopes=[GOOGLE_SCOPE])
            return GoogleCredentialProvider(credentials)
        except DefaultCredentialsError as error:
            if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
                raise BucketUnusable(f"the credentials cannot be used: {error}") from error
            raise BucketUnusable(f"no credentials were found: {CREDENTIALS_ADVICE['gs']}") from None
        except GoogleAuthError as error:
            raise BucketUnusable(f"the credentials cannot be used: {error}") from error
    return None
