"""`ltrp-pipeline push`, to a stand-in of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from hub_stand_in import running_hub

from pipeline.cli import main
from ranker.pretrained import decode_ranker, read_ranker


def test_a_ranker_is_pushed_with_a_card_that_names_licence_and_data(small_ranker: Path, tmp_path: Path) -> None:
    (tmp_path / "data.md").write_text("Photographs of cats.\n")
    options = ["--license", "mit", "--data", str(tmp_path / "data.md")]
    with running_hub() as hub, hub.in_place_of_the_real_one(tmp_path / "cache"):
        done = CliRunner().invoke(main, ["push", str(small_ranker), "hf://me/cats", *options])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("hf://me/cats: a ranker of 16 patches, with its card.\n")
    files = hub.models["me/cats"]
    assert sorted(files) == ["README.md", "ranker.json", "ranker.safetensors"]
    pushed = decode_ranker(files["ranker.safetensors"], files["ranker.json"], "hub")
    assert pushed.sha256 == read_ranker(small_ranker).sha256
    told = files["README.md"].decode()
    assert "license: mit" in told
    assert "Photographs of cats." in told
    assert 'PatchRanker.from_pretrained("hf://me/cats")' in told


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("me/cats", "Error: me/cats: expected hf://OWNER/NAME"),
        ("hf://cats", "Error: hf://cats: expected hf://OWNER/NAME"),
        ("hf://a/b/c", "Error: hf://a/b/c: expected hf://OWNER/NAME"),
    ],
)
def test_what_is_no_place_on_the_hub_is_one_clear_message(to: str, message: str, small_ranker: Path) -> None:
    done = CliRunner().invoke(main, ["push", str(small_ranker), to])
    assert done.exit_code == 1
    assert done.stderr.startswith(message), done.stderr
    assert "Traceback" not in done.stderr
