"""The page of a run, as text: what stands there, and that nothing in it is more than text."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from evaluations import call, evaluating_quickly, repeatable
from made_results import result_of, throughput_of, write
from scored_stores import write_scored
from small_models import write_ranker

from pipeline.cli import main
from stages.calibrate import Calibration
from stages.ranking.choice_agreement import Choice, Point
from stages.ranking.quality import Estimate
from stages.reporting.parts import Found, Part
from stages.run_report import make_report
from stages.settings.choices import Masking
from stages.settings.report import ReportConfig
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.scores import CONTENT, patch_statistics, read_scores

EARLIER = Path(__file__).parent.parent / "fixtures" / "earlier"
HOSTILE = "<script>alert(`1`)<script>"
"""A key: without dots and slashes, which keys do not have."""


class Page(HTMLParser):
    """Its text, its tags, and the JSON for its programs."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", list[str](), list[str]()
        self.data = list[Any]()
        self._script = ""
        self.feed(page.decode())
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.links += [found[name] or "" for name in ("src", "href") if name in found]
        self._script = (found.get("type") or "program") if tag == "script" else "style" if tag == "style" else ""

    def handle_endtag(self, tag: str) -> None:
        self._script = ""

    def handle_data(self, data: str) -> None:
        if self._script == "application/json":
            self.data.append(json.loads(data))
        elif not self._script:
            self.text += f" {data}"

    @property
    def gallery(self) -> dict[str, Any]:
        return next(each for each in self.data if "images" in each)


def page_of(work: Path | str, images: int = 8) -> Page:
    return Page(make_report(ReportConfig(work=str(work), out="report.html", images=images), lambda *_: None))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_mae: Path, small_ranker: Path) -> Path:
    """Tars, scores, an MAE, a ranker, its evaluation, and results of a task: to be looked at alone."""
    work = tmp_path_factory.mktemp("run") / "work"
    tars = {"a": [HOSTILE, "bad<b>", "a1", "a2"], "b": [f"b{number}" for number in range(6)]}
    write_scored(work, tars, repeatable, masks=16)
    shutil.copytree(small_mae, work / "mae")
    shutil.copytree(small_ranker, work / "ranker")
    with evaluating_quickly(work):
        assert call(work, work / "ranker").exit_code == 0
    results = [
        result_of(name, ratio, value=value, throughput=throughput_of())
        for name, ratio, value in (
            ("ltrp", 0.25, 0.6),
            ("random", 0.25, 0.5),
            ("<i>mine", 0.25, 0.4),
            ("full", 1.0, 0.7),
        )
    ]
    write(work / "tasks", *results)
    return work


def test_a_page_tells_of_every_part_of_a_run(run: Path) -> None:
    page = page_of(run)
    for told in (
        "9 images scored",
        "1 not an image",  # why one was skipped
        "Reconstructions",
        "Kendall's tau of the ranker, held out",
        "the strongest simple rule",
        "At keep ratio 0.25, ltrp topk reaches top-1 0.600 and patches at random 0.500: a difference of +0.100",
        "All patches reach 0.700",
        "1.00 (0.50 x)",  # GFLOP
        "masks.ratio 0.75 0.9",
    ):
        assert told in page.text
    charts = [each["layout"] for each in page.data if "layout" in each]
    assert len(charts) == 3, "quality, agreement and the task"


def test_what_a_run_is_named_and_keyed_by_stays_text(run: Path) -> None:
    page = page_of(run)
    assert HOSTILE in [each["key"] for each in page.gallery["images"]]
    assert page.tags.count("script") == 2 + 2 + 3, "two programs, data for two, and figures"
    assert "i" not in page.tags[page.tags.index("main") :] or "<i>mine topk" in page.text
    (names,) = [[line.get("name") for line in each["data"]] for each in page.data if len(each.get("data", [])) == 4]
    assert "&lt;i>mine topk" in names, "which Plotly shows as text"


def test_a_page_loads_nothing(run: Path) -> None:
    page = make_report(ReportConfig(work=str(run), out="report.html"), lambda *_: None)
    assert all(link.startswith(("#", "data:")) for link in Page(page).links)
    assert b"default-src 'none'" in page
    assert len(page) < 4_000_000


def test_the_order_of_patches_is_that_of_the_store(run: Path) -> None:
    store = PatchStore.open(str(run / "scores"), CONTENT)
    scores = read_scores(store, "b")
    means = patch_statistics(scores, 16).mean[:, 0]
    gallery = page_of(run).gallery
    assert gallery["kept"]["16"][gallery["ratios"].index(0.25)] == 4
    found = {each["key"]: each for each in gallery["images"] if each["shard"] == "b"}
    assert found
    for key, image in found.items():
        (order,) = [each for each in image["orders"] if each["source"] == "scores"]
        mean = means[scores.key.tolist().index(key)]
        assert [order["place"].index(place) for place in range(16)] == (-mean).argsort(kind="stable").tolist()
        assert (order["shade"][mean.argmax()], order["shade"][mean.argmin()]) == (255, 0)
        assert {each["source"] for each in image["orders"]} == {"scores", "ranker"}


def test_a_few_images_are_spread_over_the_shards(run: Path) -> None:
    images = page_of(run, images=4).gallery["images"]
    assert [each["shard"] for each in images] == ["a", "a", "b", "b"]
    assert page_of(run, images=0).gallery["images"] == []


def test_an_unfinished_run_of_an_earlier_version_says_what_is_unfinished(tmp_path: Path) -> None:
    work = Path(shutil.copytree(EARLIER, tmp_path / "earlier"))
    (work / "scores" / "books" / "records" / "scenes-000001.json").unlink()
    failure = {"shard": "scenes-000001", "attempts": 3, "reason": "<b>lost</b>"}
    (work / "scores" / "books" / "failures").mkdir()
    (work / "scores" / "books" / "failures" / "scenes-000001.json").write_text(json.dumps(failure))
    page = page_of(work)
    for told in (
        "mae-interrupted is not finished",
        "ranker-interrupted is not finished",
        "task-interrupted/topk-0.25-seed0 is not finished",
        "scores: 1 shard failed: scenes-000001: <b>lost</b>",
        "100 of 100 steps",
    ):
        assert told in page.text
    assert page.gallery["images"], "tars that have moved are found in the run's own folder"


def test_what_does_not_belong_together_is_told(tmp_path: Path) -> None:
    work = Path(shutil.copytree(EARLIER, tmp_path / "earlier"))
    write_ranker(work / "ranker", seed=5)
    training = json.loads((work / "ranker" / "training.json").read_text())
    (work / "ranker" / "training.json").write_text(json.dumps({**training, "scores": 64 * "0"}))
    write(work / "other", result_of(recipe={"steps": 11}), result_of(seed=1, recipe={"steps": 12}))
    text = page_of(work).text
    assert "ranks was made with another ranker than the one here." in text
    assert "ranker was trained on scores of other settings than those here." in text
    assert "scores was made with" not in text
    assert re.search(r"cannot be compared: recipe\.steps is 11 in the first and 12 in the second", text)


def test_one_part_that_cannot_be_read_does_not_cost_the_page(tmp_path: Path) -> None:
    for name in ("shards", "ranks", "scores"):
        shutil.copytree(EARLIER / name, tmp_path / name)
    (tmp_path / "ranks/books/shards.json").write_text('{"a": 1}')
    (tmp_path / "calibrated").mkdir()
    (tmp_path / "calibrated/calibration.json").write_text("[]")
    (tmp_path / "calibrated/calibration.png").write_bytes(b"")
    page = page_of(tmp_path).text
    assert page.count("ranks/books/shards.json: damaged") == 1
    assert "expected a JSON object, got a list" in page


def test_a_run_in_a_bucket_makes_the_same_page(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    bucket = locate(f"memory://{uuid.uuid4().hex}/run")
    for file in EARLIER.rglob("*"):
        if file.is_file():
            bucket.write(str(file.relative_to(EARLIER)), file.read_bytes())
    here, there = page_of(EARLIER), page_of(bucket.url)
    assert there.gallery["images"] == here.gallery["images"] != []
    start = there.text.index("Samples What was read")
    assert there.text[start:] == here.text[here.text.index("Samples What was read") :]


def test_tars_alone_make_a_page(scene_shards: Path) -> None:
    page = page_of(scene_shards)
    assert "15 images in tars" in page.text
    assert len(page.gallery["images"]) == 8
    assert all(not each["orders"] for each in page.gallery["images"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere: no run there: expected a folder with shards, models, stores or results"),
        (["empty"], "got an empty folder"),
        (["nowhere", "--out", "report.png"], "out: expected a name that ends in .html, got report.png"),
        (["pipe:cat"], "cannot read from pipe:"),
    ],
)
def test_a_mistake_is_one_message(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(main, ["report", *arguments])
    assert result.exit_code == 1
    assert expected in result.output
    assert "Traceback" not in result.output
    assert [each.name for each in tmp_path.iterdir()] == ["empty"]


def test_the_command_writes_the_page(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", str(run), "--out", str(tmp_path / "page.html"), "--images", "2"])
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/page.html: " in result.output
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!doctype html>")


def test_a_calibration_is_a_sentence_a_plot_and_a_table(tmp_path: Path) -> None:
    def point(masking: Masking, control: str, rounds: int, agreement: float) -> Point:
        spread = Estimate(agreement, agreement - 0.1, agreement + 0.1, 9)
        return Point(Choice(masking, "cells"), control, rounds, 8 * rounds, rounds * 1.5e9, spread)

    points = [
        point("partition", "none", 1, 0.5),
        point("partition", "none", 2, 0.6),
        point("spread", "geometry", 1, 0.7),
    ]
    found = Calibration(9, points, 44, Estimate(0.9, 0.8, 1.0, 9), wanted=0.65, chosen=points[-1])
    folder = locate(tmp_path / "run/calibrated")
    folder.write("calibration.json", json.dumps({**found.to_json(), "settings": {"images": 9}}).encode())
    page = page_of(tmp_path / "run")
    assert (
        "reached at least cost, 1.5 GFLOP an image, by 8 spread masks with cells decoding, with geometry" in page.text
    )
    assert "partition, cells 0.500 [0.400, 0.600], 1.5 GFLOP 0.600 [0.500, 0.700], 3 GFLOP" in page.text
    chart = next(each for each in page.data if "data" in each)
    assert [trace["name"] for trace in chart["data"]] == ["partition, cells", "spread, cells, controlled", "chosen"]
    assert chart["data"][0]["y"] == [0.5, 0.6]
    folder.write("calibration.json", b'{"images": "many"}')
    assert "calibration.json: images: Input should be a valid integer" in page_of(tmp_path / "run").text


def test_ranks_that_were_made_to_compare_methods_are_expected_to_differ(tmp_path: Path) -> None:
    parts = [
        Part("ranks", path, locate(tmp_path)) for path in ("ranks", "methods/ranks/a/ltrp", "methods/ranks/a/random")
    ]
    found = Found((*parts, Part("methods", "methods", locate(tmp_path))), False)
    assert [found.is_compared(part) for part in found.parts] == [False, True, True, False]
