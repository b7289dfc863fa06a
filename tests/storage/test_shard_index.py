"""What a user may give as shards, and the index beside tars."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from storage.locations import locate
from storage.shard_files import write_shard
from storage.shard_index import INDEX_NAME, ShardEntry, expand_shards, index_bytes, read_index

SAMPLES = [(f"image{number}", {"jpg": b"bytes", "cls": b"0"}) for number in range(3)]


def make_folder(folder: Path, names: list[str], indexed: bool = True) -> list[ShardEntry]:
    folder.mkdir(parents=True)
    entries = [write_shard(locate(folder), name, SAMPLES) for name in names]
    if indexed:
        (folder / INDEX_NAME).write_bytes(index_bytes("it", {"kind": "test"}, entries))
    return entries


NAMES = ["t-000000.tar", "t-000001.tar", "t-000002.tar"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (["{0}"], [0, 1, 2]),
        (["{0}/"], [0, 1, 2]),
        (["file://{0}"], [0, 1, 2]),
        (["{0}/index.json"], [0, 1, 2]),
        (["{0}/*.tar"], [0, 1, 2]),
        (["{0}/../s*/t-00000[02].tar"], [0, 2]),
        (["{0}/t-{{000000..000001}}.tar"], [0, 1]),
        (["{0}/t-00000{{2,0}}.tar"], [0, 2]),
        (["{0}/t-000001.tar"], [1]),
        (["{0}/t-000001.tar", "{0}", "{0}/*1.tar"], [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_shards_are_found_sorted_once_and_with_what_the_index_says(
    tmp_path: Path, spec: list[str], expected: list[int], indexed: bool
) -> None:
    if not indexed and "index.json" in spec[0]:
        pytest.skip("there is no index in this case")
    entries = make_folder(tmp_path / "shards", NAMES, indexed)
    found = expand_shards([text.format(tmp_path / "shards") for text in spec])
    assert found == [entries[i] if indexed else ShardEntry(entries[i].url) for i in expected]


def test_relative_paths_and_several_folders_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_folder(tmp_path / "a", ["a.tar"])
    second = make_folder(tmp_path / "b", ["b.tar"], indexed=False)
    monkeypatch.chdir(tmp_path)
    assert expand_shards(["a", "b/*.tar"]) == [first[0], ShardEntry(second[0].url)]
    assert expand_shards(["*/?.tar"]) == expand_shards(["?"]) == expand_shards(["{a,b}"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([], "no tars found in an empty list"),
        (["{0}/nothing"], "no tars found in .*nothing"),
        (["{0}/*.none"], "no tars found"),
        (["{0}/t-{{000002..000003}}.tar"], "t-000003.tar: no such tar"),
        (["{0}/t-{{000002..000003.tar"], "Unbalanced"),
        (["{0}/t.tar.gz"], "compressed tars"),
        (["pipe:cat {0}/t-000000.tar"], "cannot read from pipe:"),
        (["http://127.0.0.1/t-000000.tar"], "cannot read from http:"),
        (["{0}", "{1}"], "have the same name"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, spec: list[str], message: str) -> None:
    make_folder(tmp_path / "shards", NAMES, indexed=False)
    make_folder(tmp_path / "others", NAMES[:1], indexed=False)
    with pytest.raises(ValueError, match=message):
        expand_shards([text.format(tmp_path / "shards", tmp_path / "others") for text in spec])


def test_a_compressed_tar_in_a_folder_is_refused_rather_than_passed_over(tmp_path: Path) -> None:
    make_folder(tmp_path / "shards", NAMES, indexed=False)
    (tmp_path / "shards" / "more.tar.gz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"more\.tar\.gz: compressed tars cannot be read"):
        expand_shards([str(tmp_path / "shards")])


@pytest.mark.parametrize("spec", ["", "/*.tar", "/t-000009.tar"])
def test_a_tar_that_its_index_does_not_know_is_refused(tmp_path: Path, spec: str) -> None:
    make_folder(tmp_path / "shards", NAMES)
    write_shard(locate(tmp_path / "shards"), "t-000009.tar", SAMPLES)
    with pytest.raises(ValueError, match=r"t-000009\.tar: not in index\.json"):
        expand_shards([f"{tmp_path}/shards{spec}"])


def test_a_tar_that_only_the_index_knows_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "shards", NAMES)
    os.remove(tmp_path / "shards" / NAMES[1])
    with pytest.raises(ValueError, match=r"t-000001\.tar: no such tar"):
        expand_shards([str(tmp_path / "shards")])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("__kind__", "other", "__kind__: expected 'wids-shard-index-v1', got 'other'"),
        ("wids_version", 2, "wids_version"),
        ("shardlist", None, "shardlist: expected a valid array, got None"),
        ("shardlist", [{"url": "a.tar"}], "shardlist.0.nsamples: expected a value, got none"),
        ("shardlist", [{"url": "a.tar", "nsamples": -1}], "shardlist.0.nsamples"),
        ("shardlist", [{"url": "a.tar", "nsamples": 1, "md5sum": "x"}], "shardlist.0.md5sum"),
        ("shardlist", [{"url": "../a.tar", "nsamples": 1}], "shardlist.0.url: '../a.tar' leads out"),
        (
            "shardlist",
            [{"url": "pipe:rm -rf a.tar", "nsamples": 1}],
            "shardlist.0.url: .*cannot read from pipe:",
        ),
        ("base", "..", "shardlist.0.url: '../a.tar' leads out"),
    ],
)
def test_a_wrong_index_is_refused_naming_file_and_field(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    content = json.loads(index_bytes("it", {}, [ShardEntry("a.tar", 1)]))
    (tmp_path / INDEX_NAME).write_text(json.dumps({**content, field: value}))
    with pytest.raises(ValueError, match=rf"index\.json: .*{message}"):
        read_index(locate(tmp_path))


def test_an_index_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / INDEX_NAME).write_text('{"shardlist": [')
    with pytest.raises(ValueError, match=r"index\.json: not an index of shards"):
        read_index(locate(tmp_path))


def test_an_index_that_an_editor_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / INDEX_NAME).write_text(index_bytes("it", {}, [ShardEntry("a.tar", 1)]).decode(), encoding="utf-8-sig")
    assert read_index(locate(tmp_path)).name == "it"


def test_an_index_may_gather_tars_from_elsewhere_but_a_remote_one_no_local_tars(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    (entry,) = make_folder(tmp_path / "shards", ["a.tar"], indexed=False)
    content = json.loads(index_bytes("it", {}, [entry]))
    content["shardlist"][0]["url"] = entry.url
    (tmp_path / "all.json").write_text(json.dumps(content))
    assert expand_shards([f"{tmp_path}/all.json"]) == [entry]
    locate("memory://indexes").write(INDEX_NAME, json.dumps(content).encode())
    with pytest.raises(ValueError, match="local path, in an index that is not local"):
        expand_shards(["memory://indexes"])
    content["shardlist"][0]["url"] = "memory://elsewhere/a.tar"
    locate("memory://elsewhere").write("a.tar", b"")
    for folder in (str(tmp_path / "of-buckets"), "memory://of-buckets"):
        locate(folder).write(INDEX_NAME, json.dumps(content).encode())
        assert [shard.url for shard in expand_shards([f"{folder}/{INDEX_NAME}"])] == ["memory://elsewhere/a.tar"]


def test_an_index_keeps_its_name_and_facts(tmp_path: Path) -> None:
    make_folder(tmp_path / "shards", NAMES)
    index = read_index(locate(tmp_path / "shards"))
    assert (index.name, index.info, len(index.shards)) == ("it", {"kind": "test"}, 3)
