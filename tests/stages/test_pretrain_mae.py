"""`pretrain-mae` on small scenes: learns, resumes to the bit, and never mixes settings."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from ranker_training import Told

from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.mae_batches import MaeBatch, MaeBatches
from stages.density.mae_checkpoints import load_mae
from stages.images.views import View, random_view
from stages.pretrain_mae import PretrainMaeSummary, run_pretrain_mae
from stages.report import Message
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.sources.scenes import draw_scene
from stages.training.processes import SingleProcess
from storage.locations import LocalFiles
from storage.shard_files import write_shard
from storage.shard_index import expand_shards, index_bytes

SMALL: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "width": 16,
    "depth": 1,
    "heads": 2,
    "decoder_width": 16,
    "decoder_depth": 1,
    "decoder_heads": 2,
    "steps": 12,
    "batch_size": 4,
    "warmup_steps": 2,
    "checkpoint_every": 5,
    "device": "cpu",
}


def architecture(pixel_target: Any) -> MaeConfig:
    return MaeConfig(
        **{k: v for k, v in SMALL.items() if k in MaeConfig.__dataclass_fields__}, pixel_target=pixel_target
    )


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_scene(0, seed, 32).image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    place = LocalFiles(folder)
    entries = [
        write_shard(place, f"scenes-{tar}.tar", [(f"{tar}-{i}", {"png": png(10 * tar + i)}) for i in range(10)])
        for tar in range(2)
    ]
    place.write("index.json", index_bytes("scenes", {}, entries))
    return folder


def config(source: Path, target: Path, **changes) -> PretrainMaeConfig:
    return PretrainMaeConfig(**{"shards": [str(source)], "out": str(target), **SMALL, **changes})


def pretrain(
    settings: PretrainMaeConfig, stop_at: int | None = None
) -> tuple[PretrainMaeSummary, list[str], list[int]]:
    told = Told(stop_at)
    run_pretrain_mae(settings, SingleProcess(torch.device("cpu")), told)
    summary = told.events[-1]
    assert isinstance(summary, PretrainMaeSummary)
    said = [event.text for event in told.events if isinstance(event, Message)]
    return summary, said, [report.step for report in told.reports()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("preset", "parameters", "patches"),
    [("base", 111_907_840, 196), ("large", 329_541_888, 196), ("huge", 657_074_508, 256)],
)
def test_the_published_presets_have_the_published_parameters(preset: Any, parameters: int, patches: int) -> None:
    """Counted in the models of facebookresearch/mae, position embeddings included."""
    architecture = PretrainMaeConfig(shards=["s"], out="o", preset=preset).architecture()
    with torch.device("meta"):
        model = MaskedAutoencoder(architecture)
    assert (sum(each.numel() for each in model.parameters()), architecture.n_patches) == (parameters, patches)
    assert architecture.pixel_target == "normalized"


def test_what_is_given_replaces_the_numbers_of_the_preset() -> None:
    changed = PretrainMaeConfig(shards=["s"], out="o", preset="base", patch_size=32, pixel_target="raw").architecture()
    assert changed == MaeConfig(patch_size=32, pixel_target="raw")


def test_the_mae_can_be_loaded_and_its_json_tells_how_it_was_made(shards: Path, tmp_path: Path) -> None:
    summary, said, steps = pretrain(config(shards, tmp_path, mask_ratio=0.5))
    assert (summary.started_at, summary.steps, said, steps) == (0, 12, [], [10, 12])
    assert load_mae(str(tmp_path)).config == config(shards, tmp_path).architecture()
    facts = json.loads((tmp_path / "mae.json").read_text())
    assert facts["held_out_loss"] == summary.held_out_loss > 0
    assert facts["pretraining"]["mask_ratio"] == 0.5
    assert facts["pretraining"]["shards.samples"] == 20
    assert sorted(contents(tmp_path)) == [
        "mae.json",
        "mae.safetensors",
        "pretraining.json",
        "reconstructions.png",
    ]


def test_the_loss_falls_on_scenes(shards: Path, tmp_path: Path) -> None:
    told = Told()
    settings = config(shards, tmp_path, steps=80, batch_size=8, base_learning_rate=0.2, pixel_target="raw")
    run_pretrain_mae(settings, SingleProcess(torch.device("cpu")), told)
    losses = [report.loss for report in told.reports()]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    "changes",
    [{}, {"accumulate": 2, "decode_threads": 1}, {"decode": "cells"}, {"precision": "bf16"}],
    ids=["plain", "accumulating", "cells", "bf16"],
)
def test_an_interrupted_training_ends_in_the_same_files(shards: Path, tmp_path: Path, changes: dict) -> None:
    pretrain(config(shards, tmp_path / "whole", **changes))
    with pytest.raises(KeyboardInterrupt):
        pretrain(config(shards, tmp_path / "parts", **changes), stop_at=10)
    assert not (tmp_path / "parts" / "mae.json").exists()
    summary, said, steps = pretrain(config(shards, tmp_path / "parts", **changes))
    assert (summary.started_at, steps) == (10, [12])
    assert said == [f"{tmp_path / 'parts'}: resuming after step 10 of 12"]
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_damaged_checkpoint_costs_steps_but_changes_nothing(shards: Path, tmp_path: Path) -> None:
    pretrain(config(shards, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        pretrain(config(shards, tmp_path / "parts"), stop_at=10)
    newest = max((tmp_path / "parts" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    summary, _, _ = pretrain(config(shards, tmp_path / "parts"))
    assert summary.started_at == 5
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_finished_mae_is_not_made_again(shards: Path, tmp_path: Path) -> None:
    first, _, _ = pretrain(config(shards, tmp_path))
    before = contents(tmp_path)
    again, said, steps = pretrain(config(shards, tmp_path))
    assert (again.started_at, again.steps, again.held_out_loss) == (12, 12, first.held_out_loss)
    assert (said, steps) == ([f"{tmp_path}: the MAE is already finished"], [])
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mask_ratio": 0.5}, "mask_ratio: 0.75 in the folder, 0.5 now"),
        ({"width": 32}, "mae.width: 16 in the folder, 32 now"),
        ({"steps": 13}, "steps: 12 in the folder, 13 now"),
        ({"precision": "bf16"}, "precision: 'fp32' in the folder, 'bf16' now"),
        ({"decode": "cells"}, "decode: nothing in the folder, 'cells' now"),
    ],
)
@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished"])
def test_other_settings_are_refused_with_what_differs(
    shards: Path, tmp_path: Path, finished: bool, changes: dict, line: str
) -> None:
    if finished:
        pretrain(config(shards, tmp_path))
    else:
        with pytest.raises(KeyboardInterrupt):
            pretrain(config(shards, tmp_path), stop_at=10)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=line):
        pretrain(config(shards, tmp_path, **changes))
    assert contents(tmp_path) == before


def test_other_shards_are_refused(shards: Path, tmp_path: Path) -> None:
    pretrain(config(shards, tmp_path))
    with pytest.raises(ValueError, match=r"shards\.samples: 20 in the folder, 10 now"):
        pretrain(config(shards / "scenes-0.tar", tmp_path))


def test_what_does_not_decide_the_model_may_change(shards: Path, tmp_path: Path) -> None:
    pretrain(config(shards, tmp_path))
    pretrain(config(shards, tmp_path, decode_threads=1, checkpoint_every=1))


def test_an_mae_from_elsewhere_is_not_overwritten(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "mae.json").write_text("{}")
    with pytest.raises(ValueError, match="was not made here"):
        pretrain(config(shards, tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 5}, "image_size: expected a multiple of patch_size 5, got 32"),
        ({"heads": 3}, "width: expected a multiple of 3 heads"),
        ({"batch_size": 4, "accumulate": 3}, "batch_size: expected a multiple of accumulate 3, got 4"),
        ({"warmup_steps": 13}, "warmup_steps: expected at most all steps, 12, got 13"),
        ({"mask_ratio": 0.99}, "mask_ratio 0.99 of 16 patches leaves 0 visible"),
        ({"shards": ["nowhere"]}, "nowhere"),
        ({"out": "ftp://host/x"}, "ftp"),
    ],
)
def test_settings_that_do_not_fit_are_refused(shards: Path, tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretrain(config(shards, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_unknown_and_impossible_settings_are_refused() -> None:
    for wrong in ({"mask_ratio": 1.0}, {"steps": 0}, {"preset": "giant"}, {"colour": "red"}, {"steps": "12"}):
        settings: dict[str, Any] = {"shards": ["s"], "out": "o", **wrong}
        with pytest.raises(ValidationError):
            PretrainMaeConfig(**settings)


def test_unusable_images_are_left_out_and_named(tmp_path: Path) -> None:
    samples = [(f"{i:02d}", {"png": b"" if i == 3 else png(i)}) for i in range(12)] + [("text", {"txt": b"no image"})]
    tar = write_shard(LocalFiles(tmp_path), "some.tar", samples)
    summary, _, _ = pretrain(config(Path(tar.url), tmp_path / "out"))
    assert summary.left_out == {
        "03": "zero bytes",
        "text": "expected one image, found 0: the sample holds txt",
    }


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            [(str(i), {"png": b"no image"}) for i in range(8)],
            "none of 8 samples can be used; 0: not an image",
        ),
        ([("0", {"png": png(0)})], "expected at least 4 images to train on, got 1"),
    ],
)
def test_shards_without_images_to_train_on_are_refused(tmp_path: Path, samples: list, message: str) -> None:
    tar = write_shard(LocalFiles(tmp_path), "bad.tar", samples)
    with pytest.raises(ValueError, match=message) as raised:
        pretrain(config(Path(tar.url), tmp_path / "out"))
    assert "bad.tar" in str(raised.value)


def test_a_damaged_tar_is_refused_with_its_name(shards: Path, tmp_path: Path) -> None:
    data = (shards / "scenes-0.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.tar"):
        pretrain(config(tmp_path / "cut.tar", tmp_path / "out"))


def test_held_out_images_are_never_trained_on(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained_on: set[str] = set()

    def noted(seed: int, key: str, *rest) -> View:
        trained_on.add(key)
        return random_view(seed, key, *rest)

    monkeypatch.setattr("stages.density.mae_batches.random_view", noted)
    pretrain(config(shards, tmp_path, steps=20))
    assert trained_on == {f"{tar}-{i}" for tar in range(2) for i in range(10)} - {f"0-{i}" for i in range(5)}


def test_of_cells_a_batch_decodes_one_hidden_patch_each_whatever_the_number_of_processes(shards: Path) -> None:
    def batches(size: int, part: int, parts: int) -> Iterator[MaeBatch]:
        stream = MaeBatches(
            expand_shards([str(shards)]),
            architecture("raw"),
            held_out=(),
            mask_ratio=0.75,
            decode="cells",
            min_scale=0.5,
            seed=0,
            threads=1,
        )
        return islice(stream.batches(size, 0, part=part, parts=parts), 3)

    whole = list(batches(4, 0, 1))
    for batch in whole:
        assert batch.decoded is not None
        assert batch.decoded.shape == (4, 4)
        for visible, decoded in zip(batch.visible.tolist(), batch.decoded.tolist(), strict=True):
            cells = [(i // 4 // 2, i % 4 // 2) for i in range(16) if i not in visible]
            assert {(i // 4 // 2, i % 4 // 2) for i in decoded} == set(cells)
            assert not set(decoded) & set(visible)
    assert len({batch.decoded.numpy().tobytes() for batch in whole if batch.decoded is not None}) == 3
    for part in (0, 1):
        for one, half in zip(whole, batches(2, part, 2), strict=True):
            assert one.decoded is not None
            assert half.decoded is not None
            assert torch.equal(half.images, one.images[part::2])
            assert torch.equal(half.visible, one.visible[part::2])
            assert torch.equal(half.decoded, one.decoded[part::2])
