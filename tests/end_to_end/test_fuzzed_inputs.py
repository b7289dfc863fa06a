"""Files that were cut, flipped and edited at random end in one line of ours, or in nothing wrong at all."""

from __future__ import annotations

import copy
import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scored_stores import write_scored

from stages.images.decoding import UnusableImage, decode_mask
from stages.sources.coco import read_coco
from storage.contents import open_any
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.scores import read_scores
from storage.shard_files import Sample, read_shard, write_shard
from storage.shard_index import ShardEntry
from storage.verification import verify_shards

bounded = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.just([[[[]]]]), st.just("\x1b[31m\n" * 50),
)  # fmt: skip
"""What may stand in JSON in the place of something else."""


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with some bytes changed, and cut or longer."""
    changed = bytearray(data)
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)):
        changed[place] = value
    end = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return bytes(changed[:end]) + draw(st.binary(max_size=20))


@st.composite
def edited(draw: st.DrawFn, content: Any) -> Any:
    """JSON with something else in a few places, or without them."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        node = content
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 3)):
                node = node[key]
                continue
            if draw(st.booleans()):
                node[key] = copy.deepcopy(draw(ODD))  # `just` gives the same list each time
            else:
                del node[key]
            break
    return content


def refused_in_a_line(call: Callable[[], object], *kinds: type[Exception]) -> None:
    """It succeeds, or says in a line that is fit to print what is wrong. Any other error is one of ours."""
    expected: tuple[type[Exception], ...] = (ValueError, *kinds)
    try:
        call()
    except expected as error:
        text = str(error)
        assert text
        assert "\x1b" not in text
        assert len(text) < 2000


@cache
def sound_tar() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_shard(locate(folder), "a.tar", [(f"k{number}", {"jpg": b"x" * 700, "cls": b"1"}) for number in range(3)])
        return (Path(folder) / "a.tar").read_bytes()


@bounded
@given(data=damaged(sound_tar()))
def test_tars(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    whole = {f"k{number}": {"jpg": b"x" * 700, "cls": b"1"} for number in range(3)}
    found: list[Sample] = []
    refused_in_a_line(lambda: found.extend(read_shard(ShardEntry(str(tmp_path / "a.tar")))))
    if data == sound_tar():
        assert {sample.key: sample.fields for sample in found} == whole


COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6]]},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 8, 8], "iscrowd": 1,
         "segmentation": {"counts": [0, 768], "size": [24, 32]}},
    ],
    "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
}  # fmt: skip


@bounded
@given(content=edited(COCO))
def test_coco_files(content: Any, tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(json.dumps(content))
    refused_in_a_line(lambda: read_coco(tmp_path / "coco.json"))


@bounded
@given(data=damaged(json.dumps(COCO).encode()))
def test_coco_files_of_other_bytes(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_bytes(data)
    refused_in_a_line(lambda: read_coco(tmp_path / "coco.json"))


@cache
def sound_mask() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(24 * 32, dtype=np.uint8).reshape(24, 32) % 5).save(file, "PNG")
    return file.getvalue()


@bounded
@given(data=damaged(sound_mask()))
def test_masks(data: bytes) -> None:
    refused_in_a_line(lambda: decode_mask(data, (32, 24)), UnusableImage)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    """Of two shards."""
    return write_scored(tmp_path_factory.mktemp("store"), {"a": ["a1", "a2"], "b": ["b1"]})


def proved(store: PatchStore) -> dict[str, tuple[str, ...]]:
    opened, content = open_any(store.place.url)
    return {result.shard: tuple(result.findings) for result in verify_shards(opened, content.check)}


@few
@given(data=st.data())
def test_records_of_stores(data: st.DataObject, store: PatchStore) -> None:
    path = "books/records/a.json"
    before = store.place.read(path)
    content = data.draw(edited(json.loads(before)))
    try:
        store.place.write(path, json.dumps(content).encode())
        findings = proved(store)
        assert findings["b"] == ()
        assert all("\x1b" not in line and len(line) < 2000 for line in findings["a"])
        refused_in_a_line(lambda: read_scores(store, "a"), FileNotFoundError)
    finally:
        store.place.write(path, before)


@few
@given(data=st.data())
def test_files_of_stores(data: st.DataObject, store: PatchStore) -> None:
    path = data.draw(st.sampled_from(sorted(store.place.walk("shards/a"))))
    before = store.place.read(path)
    changed = data.draw(damaged(before))
    try:
        store.place.write(path, changed)
        findings = proved(store)
        assert findings["b"] == ()
        assert bool(findings["a"]) == (changed != before)
        refused_in_a_line(lambda: read_scores(store, "a"))
    finally:
        store.place.write(path, before)
