"""Access to object stores: whether credentials are there. Nothing of them is printed, and nobody is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.doctor.check import Check
from pipeline.doctor.software import installed_version
from storage.text import printable

FAMILY = "buckets"
S3_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
S3_IDENTITIES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
GS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
GS_DEFAULT = ".config/gcloud/application_default_credentials.json"


def check_buckets() -> Iterator[Check]:
    """For s3:// and gs://."""
    if installed_version("obstore") is None:
        found = "obstore is not installed: disks alone can be used"
        advice = "where you need them: pip install 'ltrp-pipeline[s3]', or [gcs]"
        yield Check(FAMILY, "s3:// and gs://", "ok", found, advice)
        return
    yield check_s3(os.environ, Path.home())
    yield check_gs(os.environ, Path.home())


def check_s3(environment: Mapping[str, str], home: Path) -> Check:
    """By the names of variables and files alone."""
    given = [name for name in S3_VARIABLES if environment.get(name)]
    if len(given) == 1:
        missing = next(name for name in S3_VARIABLES if name not in given)
        return Check(FAMILY, "s3://", "problem", f"{given[0]} is set, {missing} is not", f"set {missing} too")
    if given:
        return Check(FAMILY, "s3://", "ok", "credentials found in the environment")
    if identity := next((name for name in S3_IDENTITIES if environment.get(name)), None):
        return Check(FAMILY, "s3://", "ok", f"an identity found ({identity})")
    files = [environment.get("AWS_SHARED_CREDENTIALS_FILE") or str(home / ".aws/credentials")]
    files.append(environment.get("AWS_CONFIG_FILE") or str(home / ".aws/config"))
    if found := next((file for file in files if Path(file).is_file()), None):
        if installed_version("boto3") is None:
            told = f"profiles found in {printable(found)}, which need boto3"
            return Check(FAMILY, "s3://", "warning", told, "pip install 'ltrp-pipeline[s3]'")
        return Check(FAMILY, "s3://", "ok", f"profiles found in {printable(found)}")
    advice = f"where you need it: set {' and '.join(S3_VARIABLES)}, or AWS_PROFILE"
    return Check(FAMILY, "s3://", "ok", "no credentials found: the machine's own identity would be asked for", advice)


def check_gs(environment: Mapping[str, str], home: Path) -> Check:
    """Likewise."""
    if file := environment.get(GS_VARIABLE):
        if Path(file).is_file():
            return Check(FAMILY, "gs://", "ok", f"credentials found ({GS_VARIABLE})")
        found = f"{GS_VARIABLE} names {printable(file)}, which is no file"
        return Check(FAMILY, "gs://", "problem", found, f"set {GS_VARIABLE} to the file of a key, or unset it")
    if (home / GS_DEFAULT).is_file():
        return Check(FAMILY, "gs://", "ok", f"credentials found in {printable(home / GS_DEFAULT)}")
    advice = f"where you need it: gcloud auth application-default login, or set {GS_VARIABLE}"
    return Check(FAMILY, "gs://", "ok", "no credentials found: the machine's own identity would be asked for", advice)
