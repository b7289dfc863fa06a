"""One number for what a set of tars holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from storage.shard_index import ShardEntry


def checksum(shards: Sequence[ShardEntry]) -> str:
    """SHA-256 of names, numbers of samples, sizes and MD5s, in their order: wherever they lie, whatever has been made
    of them."""
    tars = [[shard.name, shard.nsamples, shard.filesize, shard.md5sum] for shard in shards]
    return hashlib.sha256(json.dumps(tars).encode()).hexdigest()
