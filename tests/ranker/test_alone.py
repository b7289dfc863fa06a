"""`ranker` needs little: what else the project needs is kept from it here."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import torch
from repository import ROOT

from ranker import PatchRanker

NEEDED = {"torch", "timm", "numpy", "safetensors", "pillow"}
"""As docs/patch_ranker.md says."""
NEEDED_BY_TIMM = {"torchvision", "huggingface_hub", "pyyaml", "tqdm"}
OURS = {"pipeline", "stages", "storage"}

USE = """
import json, sys
import torch
from ranker import PatchRanker
from ranker.losses import list_mle

ranker = PatchRanker.from_pretrained(sys.argv[1])
images = torch.arange(2 * 3 * 32 * 32).remainder(251).view(2, 3, 32, 32).to(torch.uint8)
scores = ranker.rank(images)
assert list_mle(scores, scores).isfinite()
print(json.dumps([scores.tolist(), ranker.keep(images, 0.25).tolist()]))
"""


def kept_away() -> list[str]:
    """Names that are imported of all that the project needs, but for what the ranker does."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = {re.split(r"[\[><=]", line)[0] for line in settings["options"]["install_requires"].split()}
    assert packages > NEEDED | NEEDED_BY_TIMM
    return sorted(packages - NEEDED - NEEDED_BY_TIMM | OURS)


def alone(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys\nsys.modules.update(dict.fromkeys({kept_away()}))\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_a_ranker_is_used_without_what_else_the_project_needs(small_ranker: Path) -> None:
    assert {"ray", "zarr", "webdataset", "click", "cloup", "pydantic", "numcodecs", "matplotlib"} < set(kept_away())
    ended = alone(USE, str(small_ranker))
    assert ended.returncode == 0, ended.stderr
    scores, kept = json.loads(ended.stdout)
    ranker = PatchRanker.from_pretrained(small_ranker)
    images = torch.arange(2 * 3 * 32 * 32).remainder(251).view(2, 3, 32, 32).to(torch.uint8)
    torch.testing.assert_close(torch.tensor(scores), ranker.rank(images))
    assert kept == ranker.keep(images, 0.25).tolist()


def test_the_command_says_what_is_missing() -> None:
    ended = alone("del sys.modules['pipeline']\nfrom pipeline.__main__ import start\nstart()")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("; expected all that ltrp-pipeline needs: pip install ltrp-pipeline")
    assert "Traceback" not in ended.stderr


def test_the_documentation_names_what_it_needs() -> None:
    page = (ROOT / "docs/patch_ranker.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith("pip install torch"))
    assert set(line.removeprefix("pip install ").split()) == NEEDED
