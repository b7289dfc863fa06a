"""Settings: read from a file, won over by flags, refused with their place when wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from repository import ROOT

from pipeline.config import SECTIONS, PipelineFile, section_model
from pipeline.options import commented
from pipeline.yaml_file import read_yaml

NEEDED = {"shards": ["a"], "mae": "b", "out": "c"}


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("score: {maske: 3}", "score: maske is unknown: did you mean masks?"),
        ("scores: {}", "scores is unknown: did you mean score?"),
        ("quux: {}", "quux is unknown: expected one of shard, pretrain_mae, calibrate, score, train_ranker"),
        ("score: {masks: many}", "score.masks: expected a valid integer, got 'many'"),
        ("score: {masks: 0}", "score.masks: expected greater than or equal to 1, got 0"),
        ("score: {mask_ratio: 1.5}", "score.mask_ratio: expected less than 1, got 1.5"),
        ("score: {masking: some}", "score.masking: expected 'partition', 'spread' or 'random', got 'some'"),
        ("score: {shards: one}", "score.shards: expected a valid list, got 'one'"),
        ("score: {shards: [1]}", "score.shards.0: expected a valid string, got 1"),
        ("score: 3", "score: expected settings, got 3"),
        ("- 1", "training_execution, got list"),
        ("score: {", "not YAML"),
        ("execution: {actors: true}", "execution.actors: expected a valid integer, got True"),
        ("pretrain_mae: {preset: gigantic}", "pretrain_mae.preset: expected 'tiny', 'base', 'large' or 'huge'"),
        ("score: {shards: []}", "score.shards: expected at least one, got none"),
        ("score: {out: ''}", "score.out: expected some text, got ''"),
        ("execution: {events: ''}", "execution.events: expected some text, got ''"),
        ("coverage: {select: []}", "coverage.select: expected at least 1 item, got 0"),
        ("shard: {name: a/b}", "shard.name: expected text that matches ^[A-Za-z0-9_-]+$, got 'a/b'"),
        ("shard: {shard_size: -1}", "shard.shard_size: expected greater than or equal to 1, got -1"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place_what_was_expected_and_what_came(
    text: str, expected: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "mine.yaml", text)
    with pytest.raises(ValueError, match=r"mine\.yaml") as refusal:
        PipelineFile.read(path)
    assert expected in str(refusal.value)


BOMB = "\n".join(
    f"{name}: &{name} [{', '.join([f'*{of}'] * 9)}]" for of, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine to the eighth, in eight lines."""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"a: &a [x]\n{BOMB}\nscore: {{shards: *i}}", "expected settings, got more than 100000 values, with aliases"),
        ("score: {shards: &a [*a]}", "expected settings, got an alias inside of what it stands for"),
        ("[" * 5000, "expected settings, got values nested too deeply"),
        ("score: {masks: " + "[" * 200 + "]" * 200 + "}", "score.masks: expected a valid integer, got [[["),
        ("score: {masks: " + "x" * 100_000 + "}", "score.masks: expected a valid integer, got 'xxx"),
        ("score: {" + "x" * 900 + ": 1}", "is unknown"),
        ("score: {masks: " + "9" * 5000 + "}", "Exceeds the limit (4300 digits)"),
        ("score: {out: 2024-13-45}", "month must be in 1..12"),
        ("score: {1: 2}", "score: expected names of settings, got 1"),
        ("score: {[1]: 2}", "unhashable key"),
        ("1: {}", "1 is unknown"),
        ("score:", "score: expected settings, got None"),
        ("score: {seed: 1, seed: 2}", "seed is there twice in"),
        ("score: {}\nrank: {}\nscore: {}", "score is there twice in"),
        ("score: {}\n---\nrank: {}", "expected a single document"),
        ("score:\n\tseed: 1", "cannot start any token"),
        ("score: !!python/name:os.system", "could not determine a constructor"),
        ("score: {masking: !!binary aGVsbG8=}", "expected 'partition', 'spread' or 'random', got b'hello'"),
        ('score: {masking: "\\e[31m"}', r"got '\x1b[31m'"),
        ("# " + "x" * 2**21, "expected settings, got more than 1 MiB"),
        (b"score: {out: \xe9}", "expected UTF-8, got other bytes at 13"),
        ("score: {seed: 1}".encode("utf-16"), "expected UTF-8, got other bytes at 0"),
        (b"score: \0", "unacceptable character"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_whatever_a_file_holds_a_line_says_what_is_wrong_with_it(
    content: str | bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"^[^\n]*mine\.yaml[^\n]*$") as refusal:
        PipelineFile.read(str(path))
    assert expected in str(refusal.value)
    assert len(str(refusal.value)) < 700


def test_a_file_may_begin_with_a_mark_use_aliases_or_be_empty(tmp_path: Path) -> None:
    text = "\ufeffscore: &these {seed: 3}\nrank: {<<: *these, views: 2}"
    assert PipelineFile.read(written(tmp_path / "a.yaml", text)).sections["rank"] == {"seed": 3, "views": 2}
    assert PipelineFile.read(written(tmp_path / "b.yaml", "")).sections == {}


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "1E-3", ".1e-2", "1.e-3", "+1e-3", "0.001"])
def test_numbers_may_be_written_as_people_do(text: str, tmp_path: Path) -> None:
    read = read_yaml(written(tmp_path / "mine.yaml", f"rate: {text}\nname: e3\nalso: 1e3x\nmore: '1e3'\n"))
    assert read == {"rate": 0.001, "name": "e3", "also": "1e3x", "more": "1e3"}


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ValueError, match=r"pipe\.yaml: expected a file, got a named pipe"):
        PipelineFile.read(str(tmp_path / "pipe.yaml"))
    with pytest.raises(ValueError, match=f"^{tmp_path}: Is a directory"):
        PipelineFile.read(str(tmp_path))


def test_every_wrong_setting_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.yaml", "score: {masks: 0, views: x}")
    with pytest.raises(ValueError, match="score") as refusal:
        PipelineFile.read(path)
    assert len(str(refusal.value).splitlines()) == 2


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = PipelineFile.read(written(tmp_path / "mine.yaml", "score: {seed: 3, masks: 20, out: x}"))
    config = file.section("score", {**NEEDED, "masks": 40})
    assert (config.seed, config.masks, config.views, config.out) == (3, 40, 1, "c")


def test_a_wrong_flag_is_named_as_a_flag(tmp_path: Path) -> None:
    file = PipelineFile.read(written(tmp_path / "mine.yaml", "score: {seed: 3}"))
    with pytest.raises(ValueError, match=r"^--mask-ratio: expected less than 1, got 2\.0$"):
        file.section("score", {**NEEDED, "mask_ratio": 2.0})


def test_what_is_missing_is_told_with_both_ways_to_give_it() -> None:
    with pytest.raises(ValueError, match=r"--mae is missing: give it, or score\.mae in pipeline\.yaml"):
        PipelineFile("pipeline.yaml", {}).section("score", {"shards": ["a"], "out": "b"})


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml: No such file"):
        PipelineFile.read(str(tmp_path / "none.yaml"))


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert PipelineFile.read(None).section("score", NEEDED).views == 1


CHOSEN_IN_THE_FILE = {
    ("shard", "scenes"),
    ("rank", "ranker"),
    ("train_task", "ranks"),
    ("evaluate_task", "ranks"),
}


def test_the_shipped_file_holds_every_setting_at_its_default_and_a_comment_for_each() -> None:
    """But for where things lie, for what the data are, and for what a comment shows as chosen by the command."""
    text = (ROOT / "pipeline.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert list(content) == list(SECTIONS)
    PipelineFile("pipeline.yaml", content)
    for section, settings in content.items():
        fields = section_model(section).model_fields
        assert list(settings) == list(fields), section
        for name, value in settings.items():
            if not fields[name].is_required() and (section, name) not in CHOSEN_IN_THE_FILE:
                assert value == fields[name].default, f"{section}.{name}"


def test_the_shipped_file_says_of_each_setting_what_help_says() -> None:
    section, wrong = "", []
    for line in (ROOT / "pipeline.yaml").read_text(encoding="utf-8").splitlines():
        if line and line[0] not in " #":
            section = line.rstrip(":")
        elif line.startswith("  "):
            setting, _, comment = line.partition("  # ")
            name = setting.split(":")[0].strip()
            expected = commented(section_model(section), name)
            if comment != expected:
                wrong.append(f"{section}.{name}: expected {expected!r}, got {comment!r}")
    assert not wrong, "\n".join(wrong)
