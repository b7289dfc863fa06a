"""Models on the Hugging Face hub: `hf://OWNER/NAME`, of its newest version, or of one with `@REVISION` after it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SCHEME = "hf://"


def is_on_hub(path: str) -> bool:
    """Whether `path` names a model on the hub."""
    return path.startswith(SCHEME)


def can_be_pushed_to(path: str) -> bool:
    """Whether `path` names a model on the hub with its owner, without whom nothing can be written there."""
    return re.fullmatch(rf"{SCHEME}[\w.-]+/[\w.-]+(@\S+)?", path, re.ASCII) is not None


def download(url: str, files: Sequence[str]) -> str:
    """The folder that those of `files` that the model has were downloaded to, unless they are there.

    Raises ValueError with the hub's reason.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = url.removeprefix(SCHEME).partition("@")
    try:
        return snapshot_download(name, revision=revision or None, allow_patterns=list(files))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(f"{url}: the Hugging Face hub did not give it: {_line(error)}") from None


def upload(url: str, files: Mapping[str, bytes], *, message: str, private: bool = False) -> str:
    """Writes `files`, by name, as one commit to the model at `url`, which is made if there is none; returns the address
    of the commit. The account is that of `hf auth login`, or of the environment's HF_TOKEN.

    Raises ValueError with the hub's reason.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    name, _, revision = url.removeprefix(SCHEME).partition("@")
    hub = HfApi(library_name="ltrp-pipeline")
    operations = [CommitOperationAdd(path_in_repo=each, path_or_fileobj=data) for each, data in files.items()]
    try:
        hub.create_repo(name, exist_ok=True, private=private)
        return hub.create_commit(name, operations, commit_message=message, revision=revision or None).commit_url
    except Exception as error:  # without a connection, that of its HTTP library, which is another in each version
        raise ValueError(f"{url}: the Hugging Face hub did not take it: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
