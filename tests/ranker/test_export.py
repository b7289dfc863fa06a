"""A ranker as a torch.export program and as an ONNX model."""

from __future__ import annotations

import importlib.util
import io
import uuid
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pipeline.commands.export import export
from ranker import PatchRanker
from ranker.export import check_onnx, check_program, export_onnx, export_program
from ranker.network import Head, PatchRankingTransformer, RankerConfig
from ranker.pretrained import RankerCheckpoint, encode_ranker
from storage.locations import locate


def ranker_of(head: Head = "cls", seed: int = 0) -> PatchRanker:
    torch.manual_seed(seed)
    config = RankerConfig(image_size=16, patch_size=4, width=16, depth=2, heads=2, head=head)
    return PatchRanker(RankerCheckpoint(config, dict(PatchRankingTransformer(config).state_dict()), {}))


@pytest.fixture(scope="module", params=["cls", "token"])
def ranker(request: pytest.FixtureRequest) -> PatchRanker:
    return ranker_of(request.param)


@pytest.fixture(scope="module")
def program(ranker: PatchRanker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "new" / "ranker.pt2"
    export_program(ranker, path)
    return path


@pytest.fixture(scope="module")
def token_ranker() -> PatchRanker:
    """Whose positions could be resampled; the command is tried with the other head."""
    return ranker_of("token")


@pytest.fixture(scope="module")
def onnx_model(token_ranker: PatchRanker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: no ONNX to test")
    path = tmp_path_factory.mktemp("onnx") / "ranker.onnx"
    export_onnx(token_ranker, path)
    return path


def test_a_program_gives_the_rankers_scores_for_any_number_of_images(ranker, program):
    exported = torch.export.load(program).module()
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, 16, 16)
        torch.testing.assert_close(exported(images), ranker.rank(images), rtol=1e-5, atol=1e-6)
    assert check_program(program, ranker) < 1e-6


def test_an_onnx_model_gives_the_rankers_scores_for_any_number_of_images(token_ranker, onnx_model):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_model), providers=["CPUExecutionProvider"])
    (images_in,), (scores_out,) = session.get_inputs(), session.get_outputs()
    assert (images_in.name, images_in.type, images_in.shape[1:]) == ("images", "tensor(float)", [3, 16, 16])
    assert (scores_out.name, scores_out.shape[1:]) == ("scores", [16])
    for batch in (1, 2, 5):
        images = torch.randn(batch, 3, 16, 16)
        scores = torch.from_numpy(session.run(["scores"], {"images": images.numpy()})[0])
        torch.testing.assert_close(scores, token_ranker.rank(images), rtol=1e-4, atol=1e-5)
    assert check_onnx(onnx_model, token_ranker) < 1e-5


def test_the_ranker_stays_as_it_was_and_nothing_lies_beside_the_file(ranker, program):
    assert [file.name for file in program.parent.iterdir()] == ["ranker.pt2"]
    assert ranker.network.head.weight.dtype == torch.float32
    assert not ranker.training


REFUSAL = r"expected the ranker's scores to \S+, got a difference"


def test_a_program_of_another_ranker_is_refused(ranker, program):
    with pytest.raises(ValueError, match=rf"ranker\.pt2: {REFUSAL}"):
        check_program(program, ranker_of(ranker.config.head, seed=1))


def test_an_onnx_model_of_another_ranker_is_refused(onnx_model):
    with pytest.raises(ValueError, match=rf"ranker\.onnx: {REFUSAL}"):
        check_onnx(onnx_model, ranker_of("token", seed=1))


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    (tmp_path / "ranker.pt2").write_bytes(b"before")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        export_program(ranker_of(), tmp_path / "ranker.pt2")
    assert [file.name for file in tmp_path.iterdir()] == ["ranker.pt2"]
    assert (tmp_path / "ranker.pt2").read_bytes() == b"before"


def test_a_name_that_pytorch_would_not_know_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ranker\.bin: expected a name that ends in \.pt2"):
        export_program(ranker_of(), tmp_path / "ranker.bin")
    assert not list(tmp_path.iterdir())


def test_without_the_packages_of_onnx_the_message_says_how_to_install_them(token_ranker, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "onnx" in name else found(name))
    message = r"pip install 'ltrp-pipeline\[onnx\]'"
    with pytest.raises(ValueError, match=rf"ONNX needs onnx and onnxscript: {message}"):
        export_onnx(token_ranker, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=rf"ONNX needs onnxruntime: {message}"):
        check_onnx(tmp_path / "x.onnx", token_ranker)
    assert not list(tmp_path.iterdir())


def save(ranker: PatchRanker, folder: Path) -> Path:
    folder.mkdir()
    for name, data in encode_ranker(ranker.network, {}).items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("format_", "suffix", "packages"),
    [("torch", ".pt2", []), ("onnx", ".onnx", ["onnx", "onnxscript", "onnxruntime"])],
)
def test_the_command_writes_a_file_and_says_what_goes_in_and_comes_out(format_, suffix, packages, tmp_path):
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed: no ONNX to test")
    ranker, out = save(ranker_of(), tmp_path / "ranker"), tmp_path / f"exported{suffix}"
    result = CliRunner().invoke(export, ["--ranker", str(ranker), "--format", format_, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"{out}: a ranker of 16 patches" in result.output
    assert "images (B, 3, 16, 16) float32" in result.output
    assert "scores (B, 16) float32" in result.output
    assert "Largest difference to the ranker's scores, on random images: " in result.output
    check = {"torch": check_program, "onnx": check_onnx}[format_]
    assert check(out, PatchRanker.from_pretrained(ranker)) < 1e-5


def test_the_command_keeps_no_file_whose_scores_are_others(tmp_path, monkeypatch):
    monkeypatch.setattr("ranker.export.TOLERANCE", -1.0)
    ranker, out = save(ranker_of(), tmp_path / "ranker"), tmp_path / "exported.pt2"
    result = CliRunner().invoke(export, ["--ranker", str(ranker), "--out", str(out)])
    assert "expected the ranker's scores" in str(result.exception)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ranker", "nowhere", "--out", "x.pt2"], "nowhere: no ranker there"),
        (["--ranker", "nowhere", "--out", "far/x"], "far/x: expected a name that ends in .pt2"),
        (["--ranker", "nowhere", "--out", "x", "--format", "jax"], "'jax' is not one of 'torch', 'onnx'"),
        (["--out", "x.pt2"], "Missing option '--ranker'"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(export, arguments)
    assert result.exit_code != 0
    assert message in f"{result.output} {result.exception}"
    assert not list(tmp_path.iterdir())


def test_the_command_reads_from_and_writes_to_a_bucket(s3_bucket: str) -> None:
    place = locate(f"{s3_bucket}/export-{uuid.uuid4().hex}")
    for name, data in encode_ranker(ranker_of().network, {}).items():
        place.child("ranker").write(name, data)
    out = f"{place.url}/exported.pt2"
    result = CliRunner().invoke(export, ["--ranker", f"{place.url}/ranker", "--out", out])
    assert result.exit_code == 0, result.output
    assert f"{out}: a ranker of " in result.output
    images = torch.rand(2, 3, 16, 16)
    exported = torch.export.load(io.BytesIO(place.read("exported.pt2"))).module()
    torch.testing.assert_close(exported(images), ranker_of().rank(images), rtol=1e-4, atol=1e-5)
