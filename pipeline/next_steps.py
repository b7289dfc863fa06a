"""What can be done with a store that is whole: a command, made of what the store's books name."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pipeline.hints import as_argument, beside, next_command, repeated
from storage import scores
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.shard_files import read_shard
from storage.shard_index import INDEX_NAME, ShardEntry

MOST_FOLDERS = 4


def after_store(store: PatchStore) -> list[str]:
    """One line; none where the books do not say which tars it is of, or these are no longer there."""
    folders, tars = _folders(store.books.shards())
    if not folders:
        return []
    shards, url = repeated("--shards", folders), store.place.url
    if store.content == scores.CONTENT:
        ranker = beside(url, "ranker")
        return [next_command("train-ranker", *shards, "--scores", url, "--out", ranker)]
    try:
        task = learnable(next(iter(read_shard(ShardEntry(tars[0])))).fields)
    except (ValueError, OSError, StopIteration):
        return []
    if task is None:
        return [next_command("show", *map(as_argument, folders), "--scores", url, "--out", beside(url, "patches.png"))]
    return [next_command("train-task", task, *shards, "--ranks", url, "--out", beside(url, task))]


def learnable(fields: Mapping[str, bytes]) -> str | None:
    """The task that a sample with these fields has a truth for; of several the simplest."""
    if "cls" in fields:
        return "classify"
    if "seg.png" in fields:
        return "segment"
    try:
        facts = json.loads(fields.get("json", b"null"))
    except ValueError:
        return None
    if isinstance(facts, dict) and "objects" in facts:
        return "detect"
    return "multilabel" if isinstance(facts, dict) and "categories" in facts else None


def _folders(shards: list[ShardEntry]) -> tuple[list[str], list[str]]:
    """Folders with an index that hold them, and their URLs; none where they lie otherwise."""
    urls = [shard.url for shard in shards]
    folders = list(dict.fromkeys(url.rpartition("/")[0] for url in urls))
    if len(folders) > MOST_FOLDERS or not all(folder and locate(folder).exists(INDEX_NAME) for folder in folders):
        return [], []
    return folders, urls
