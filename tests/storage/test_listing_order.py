"""Buckets that list names in another order than most."""

from __future__ import annotations

from typing import Any

import pytest

from storage.object_store import ObjectStore

obstore = pytest.importorskip("obstore", reason="obstore is not installed")


def test_a_bucket_that_lists_in_an_order_of_its_own_is_listed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """As directory buckets of S3 do."""
    place = ObjectStore("s3", "bucket", "", obstore.store.MemoryStore())
    for name in "abcdef":
        place.write(f"x/{name}", name.encode())
    expected = place.stamps("x")
    in_order = obstore.list

    def in_another_order(*arguments: Any, **options: Any) -> Any:
        return [page[::-1] for page in in_order(*arguments, **options)]

    monkeypatch.setattr(obstore, "list", in_another_order)
    assert place.stamps("x", ["c", "e"]) == expected
    assert sorted(expected) == list("abcdef")
