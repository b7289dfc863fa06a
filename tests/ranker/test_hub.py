"""Rankers on a Hugging Face hub, of which a stand-in runs here; and their cards."""

from __future__ import annotations

import pytest
import torch
import yaml
from hub_stand_in import running_hub

from ranker.card import card
from ranker.hub import upload
from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.patch_ranker import PatchRanker
from ranker.pretrained import RankerCheckpoint, encode_ranker, read_ranker

SMALL = RankerConfig(image_size=16, patch_size=4, width=8, depth=1, heads=2, head="token")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    made = tmp_path / "ranker"
    made.mkdir()
    for name, data in encode_ranker(PatchRankingTransformer(SMALL), {}).items():
        (made / name).write_bytes(data)
    (made / "README.md").write_text(card(read_ranker(made), "hf://someone/patches", licence="mit"))
    return made


def test_what_is_pushed_to_the_hub_is_loaded_from_there(folder, tmp_path):
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    with running_hub() as hub, hub.in_place_of_the_real_one(tmp_path / "cache"):
        commit = upload("hf://someone/patches", files, message="A ranker")
        assert hub.models == {"someone/patches": files}
        assert commit.startswith(f"{hub.url}/someone/patches/commit/")
        assert PatchRanker.from_pretrained("hf://someone/patches").config == SMALL
        with pytest.raises(ValueError, match=r"^hf://someone/nothing: the Hugging Face hub did not give it: 404"):
            PatchRanker.from_pretrained("hf://someone/nothing")
        with pytest.raises(ValueError, match=r"^hf://a/b/c: the Hugging Face hub did not give it: Repo id"):
            PatchRanker.from_pretrained("hf://a/b/c")
        with pytest.raises(ValueError, match=r"^hf://a/b/c: the Hugging Face hub did not take it: Repo id"):
            upload("hf://a/b/c", files, message="A ranker")


def test_a_hub_that_does_not_answer_is_one_clear_message(tmp_path):
    with running_hub() as hub:
        pass
    with (
        hub.in_place_of_the_real_one(tmp_path),
        pytest.raises(ValueError, match=r"^hf://a/b: the Hugging Face hub did not take it: .*refused"),
    ):
        upload("hf://a/b", {"x": b""}, message="")


def test_a_card_says_what_is_known_of_a_ranker(folder):
    checkpoint = read_ranker(folder)
    facts = {
        "training": {"epochs": 3, "init": None, "ranker.width": 8},
        "validation": {
            "qualities": {"ranker": {"of mean: spearman": {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 9}}, "random": {}}
        },
    }
    told = card(
        RankerCheckpoint(checkpoint.config, checkpoint.weights, facts), "hf://me/mine", licence="mit", data="Cats."
    )
    header = yaml.safe_load(told.split("---")[1])
    assert header["license"] == "mit"
    for said in (
        "# mine\n",
        'PatchRanker.from_pretrained("hf://me/mine")',
        "| width | 8 |",
        "| epochs | 3 |",
        "| ranker | 0.500 [0.400, 0.600] |  |",
        "Cats.",
        checkpoint.sha256,
    ):
        assert said in told
    assert "init" not in told


@pytest.mark.parametrize(
    "facts", [{}, {"validation": 3, "training": []}, {"validation": {"qualities": {"a": {"b": 1}}}}]
)
def test_a_card_of_a_ranker_that_says_nothing_of_its_training_says_so(folder, facts):
    checkpoint = read_ranker(folder)
    told = card(RankerCheckpoint(checkpoint.config, checkpoint.weights, facts), "mine")
    assert "license: unknown" in told
    assert "Not told." in told
    assert "## Training" not in told
