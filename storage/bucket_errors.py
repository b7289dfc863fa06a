"""What an object store's refusal means, in a person's words."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

CREDENTIALS_ADVICE = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; for a public bucket AWS_SKIP_SIGNATURE=true",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS or run gcloud auth application-default login; for a public bucket set "
    "GOOGLE_SKIP_SIGNATURE=true",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
MISSING_BUCKET = ("NoSuchBucket", "ContainerNotFound")
WRONG_CREDENTIALS = {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired",
    "AuthFailure", "AuthenticationFailed", "AuthenticationRequired", "InvalidAuthenticationInfo",
}  # fmt: skip
PROVIDER = "credential provider: "
MOMENTARY = re.compile(r"status code: (5\d\d|408|429)|HTTP error|NoSuchUpload")
METADATA_SERVER = re.compile(r"169\.254\.169\.254|metadata\.google|/latest/api/token|computeMetadata")


def is_momentary(error: Exception) -> bool:
    """Whether the same request may succeed a moment later: the server is busy, an answer broke off, or an upload
    was finished by a request whose answer was lost, so that the store knows it no more."""
    return bool(MOMENTARY.search(str(error))) and not METADATA_SERVER.search(str(error))


def is_missing_bucket(error: Exception) -> bool:
    return _code(str(error)) in MISSING_BUCKET


def says_credentials_are_wrong(error: Exception) -> bool:
    return _code(str(error)) in WRONG_CREDENTIALS


def why(error: Exception, act: str, scheme: str, bucket: str, seconds: float) -> str:
    """One line. `act`: what was tried, as in "may not read there"; `seconds`: for how long."""
    told = str(error)
    status = re.search(r"status code: (\d+)([\w ]*)", told)
    number = status[1] if status else ""
    answer = f"{number} {_code(told) or status[2].strip()}".strip() if status else ""
    advice = CREDENTIALS_ADVICE.get(scheme.replace("gcs", "gs"), "")
    unreached = "Connect" in told or "TimedOut" in told
    meanings = (
        (is_missing_bucket(error), f"there is no bucket {bucket!r}"),
        (METADATA_SERVER.search(told), f"no credentials were found: {advice}"),
        (
            number == "401" or says_credentials_are_wrong(error),
            f"the credentials are not accepted ({answer}): {advice}",
        ),
        (number == "403", f"access denied ({answer}): the credentials may not {act} there"),
        (number == "301" or "eceived redirect" in told, "the bucket lies in another region: set AWS_REGION to it"),
        (status and is_momentary(error), f"the store answered {answer} again and again for {seconds:.0f} s"),
        (
            "HTTP error" in told,
            f"{'nothing answers at' if unreached else 'connections break off to'} {_endpoint(told)}{_cause(told)}, "
            f"tried for {seconds:.0f} s",
        ),
        ("recondition" in told, "was replaced while it was read"),
        (PROVIDER in told, f"the credentials cannot be used: {_first_line(told).partition(PROVIDER)[2]}"),
    )
    return next((meaning for applies, meaning in meanings if applies), _first_line(told))


def _first_line(told: str) -> str:
    return told.partition("\n")[0].rstrip(" :")  # the lines after it are Rust's own account


def _code(told: str) -> str:
    """What the store itself calls the error: "AccessDenied"."""
    found = re.search(r"<Code>(\w+)</Code>", told.partition("Debug source")[0])
    return found[1] if found else ""


def _endpoint(told: str) -> str:
    url = urlsplit(found[0]) if (found := re.search(r"https?://[^\s,)]+", told)) else None
    return f"{url.scheme}://{url.netloc}" if url else os.environ.get("AWS_ENDPOINT_URL", "the store")


def _cause(told: str) -> str:
    """Of a connection that fails, where Rust's account holds a reason that says something."""
    reasons = {
        "Connection refused": " (connection refused)",
        "failed to lookup address": " (no host of this name)",
        "TimedOut": " (no answer in time)",
    }
    return next((reason for sign, reason in reasons.items() if sign in told), "")
