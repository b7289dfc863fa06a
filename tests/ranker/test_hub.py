"""Rankers on a Hugging Face hub, of which a stand-in runs here; and their cards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import yaml
from hub_stand_in import running_hub

from ranker.card import card
from ranker.hub import upload
from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pretrained import RankerCheckpoint, encode_ranker, read_ranker

SMALL = RankerConfig(image_size=16, patch_size=4, width=8, depth=1, heads=2, head="token")
IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from ranker.hub import upload
from ranker.patch_ranker import PatchRanker

folder, = sys.argv[1:]
files = {each.name: each.read_bytes() for each in sorted(Path(folder).iterdir())}
print(upload("hf://someone/patches", files, message="A ranker"))
print(PatchRanker.from_pretrained("hf://someone/patches").config)
for name in ("hf://someone/nothing", "hf://a/b/c"):
    try:
        PatchRanker.from_pretrained(name)
    except ValueError as error:
        print(error)
try:
    upload("hf://a/b/c", files, message="A ranker")
except ValueError as error:
    print(error)
"""


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    made = tmp_path / "ranker"
    made.mkdir()
    for name, data in encode_ranker(PatchRankingTransformer(SMALL), {}).items():
        (made / name).write_bytes(data)
    (made / "README.md").write_text(card(read_ranker(made), "hf://someone/patches", licence="mit"))
    return made


def with_hub(url: str, tmp_path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """huggingface_hub reads its settings when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_TOKEN": "hf_nobody"}
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_what_is_pushed_to_the_hub_is_loaded_from_there(folder, tmp_path):
    with running_hub() as hub:
        done = with_hub(hub.url, tmp_path, IN_ANOTHER_PROCESS, str(folder))
    assert done.returncode == 0, done.stderr
    assert hub.models == {"someone/patches": {each.name: each.read_bytes() for each in folder.iterdir()}}
    commit, config, *refused = done.stdout.splitlines()
    assert commit.startswith(f"{hub.url}/someone/patches/commit/")
    assert config == str(SMALL)
    messages = (
        "hf://someone/nothing: the Hugging Face hub did not give it: 404",
        "hf://a/b/c: the Hugging Face hub did not give it: Repo id",
        "hf://a/b/c: the Hugging Face hub did not take it: Repo id",
    )
    assert all(line.startswith(message) for line, message in zip(refused, messages, strict=True)), refused


def test_a_hub_that_does_not_answer_is_one_clear_message(monkeypatch):
    with running_hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    with pytest.raises(ValueError, match=r"^hf://a/b: the Hugging Face hub did not take it: .*refused"):
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
