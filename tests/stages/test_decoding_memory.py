"""What decoding takes: memory near that of the pixels, little for what only claims to be large, never all there is."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import encoded, picture, png_chunk, png_with_header
from PIL import Image

from stages.compute.prefetch import prefetch
from stages.images import decoding
from stages.images.decoding import FORMATS, UnusableImage, decode_image, decode_mask, loaded_image
from stages.images.pixel_budget import PixelBudget

SIDE = 2000
MIB = 2**20

MEASURE = """
import json, os, sys
from pathlib import Path
from stages.images.decoding import FORMATS, UnusableImage, decode_image, loaded_image

def peak():  # of this process alone: what getrusage tells begins with the memory of its parent
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

def load(data):
    with loaded_image(data):
        pass

def attempt(act, path):
    try:
        {"decode": decode_image, "load": load}[act](Path(path).read_bytes())
        return ""
    except UnusableImage as error:
        return str(error)

for act, warm, path in json.loads(sys.argv[1]):
    if not (child := os.fork()):  # importing takes longest
        attempt(act, warm)
        before = peak()
        found = attempt(act, path)
        print(json.dumps([peak() - before, found]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures with /proc")


def measure(folder: Path, attempts: Sequence[tuple[str, bytes, bytes]]) -> list[tuple[int, str]]:
    """Of each (what to do, image, small image of its kind): the bytes that it takes at most beyond those of the small
    one, and the reason if it is unusable."""
    given = []
    for number, (act, data, warm) in enumerate(attempts):
        paths = folder / f"{number}", folder / f"{number} small"
        for path, content in zip(paths, (data, warm), strict=True):
            path.write_bytes(content)
        given.append((act, str(paths[1]), str(paths[0])))
    arguments = [sys.executable, "-c", MEASURE, json.dumps(given)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=True)
    return [(taken, reason) for taken, reason in map(json.loads, done.stdout.splitlines())]


def png(width: int, height: int, depth: int, colour_type: int, channels: int, *chunks: bytes) -> bytes:
    """A PNG of zeros, which takes little room for many pixels; `chunks` stand before its pixels."""
    row = bytes(1 + width * depth * channels // 8)
    compress = zlib.compressobj(1)
    pixels = b"".join([compress.compress(row) for _ in range(height)] + [compress.flush()])
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PALETTE = png_chunk(b"PLTE", bytes(range(48)))
KINDS: dict[str, Callable[[int], bytes]] = {
    "16-bit grey": lambda side: png(side, side, 16, 0, 1),
    "grey": lambda side: png(side, side, 8, 0, 1),
    "grey and alpha": lambda side: png(side, side, 8, 4, 2),
    "colours": lambda side: png(side, side, 8, 2, 3),
    "colours and alpha": lambda side: png(side, side, 8, 6, 4),
    "palette": lambda side: png(side, side, 8, 3, 1, PALETTE),
    "palette and alpha": lambda side: png(side, side, 8, 3, 1, PALETTE, png_chunk(b"tRNS", b"\0\x80")),
    "CMYK": lambda side: encoded(Image.new("CMYK", (side, side)), "JPEG"),
    "32-bit integers": lambda side: encoded(Image.new("I", (side, side)), "TIFF", compression="tiff_adobe_deflate"),
}


@needs_proc
def test_decoding_takes_a_little_more_than_the_pixels_and_their_rgb(tmp_path: Path) -> None:
    images = {kind: (make(SIDE), make(32)) for kind, make in KINDS.items()}
    attempts = [(act, *images[kind]) for kind in KINDS for act in ("decode", "load")]
    found = dict(
        zip([(kind, act) for kind in KINDS for act in ("decode", "load")], measure(tmp_path, attempts), strict=True)
    )
    for kind, (data, _) in images.items():
        with Image.open(io.BytesIO(data)) as image:
            stored = {"L": 1, "P": 1, "I;16": 2}.get(image.mode, 4)
        for act, each in (("decode", stored + 4), ("load", stored)):  # only looking whether it is usable needs no RGB
            taken, reason = found[kind, act]
            assert not reason, kind
            assert taken < each * SIDE**2 * 1.1 + 14 * MIB, f"{act} {kind}: {taken / SIDE**2:.1f} bytes a pixel"


def tiled_tiff(tile: int) -> bytes:
    """32 x 32 pixels in a tile of this side, as it says."""
    data = encoded(np.zeros((32, 32), np.uint8), "TIFF", compression="tiff_adobe_deflate")
    (count,) = struct.unpack_from("<H", data, start := struct.unpack_from("<I", data, 4)[0])
    entries = {
        struct.unpack_from("<H", data, start + 2 + 12 * n)[0]: data[start + 2 + 12 * n :][:12] for n in range(count)
    }
    offset, length = entries.pop(273)[8:], entries.pop(279)[8:]
    entries.pop(278)
    entries[322] = struct.pack("<HHII", 322, 4, 1, tile)
    entries[323] = struct.pack("<HHII", 323, 4, 1, tile)
    entries[324] = struct.pack("<HHI", 324, 4, 1) + offset
    entries[325] = struct.pack("<HHI", 325, 4, 1) + length
    directory = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def text(size: int, kind: bytes = b"zTXt") -> bytes:
    return png_chunk(kind, b"a\0\0" + zlib.compress(bytes(size), 9))


BOMBS = {
    "text": (png(32, 32, 8, 0, 1, text(2 * MIB)), "a decompression bomb: its text or colour profile"),
    "many texts": (png(32, 32, 8, 0, 1, *[text(MIB - 1)] * 70), "a decompression bomb: its text or colour profile"),
    "a profile": (png(32, 32, 8, 0, 1, text(2 * MIB, b"iCCP")), "a decompression bomb: its text or colour profile"),
    "tiles": (tiled_tiff(2**15), "a decompression bomb: tiles of 32768x32768 in an image of 32x32"),
    "pixels": (png_with_header(20_000, 20_000), "a decompression bomb: more than 178956970 pixels"),
    "no width": (png_with_header(0, 32), f"not an image of a known format ({', '.join(FORMATS)})"),
}  # fmt: skip


@needs_proc
def test_bombs_are_told_by_their_headers(tmp_path: Path) -> None:
    found = measure(tmp_path, [("decode", data, picture()) for data, _ in BOMBS.values()])
    for (taken, reason), (_, expected) in zip(found, BOMBS.values(), strict=True):
        assert reason == expected
        assert taken < 75 * MIB


def test_tiles_that_reach_beyond_a_small_image_are_usual() -> None:
    assert decode_image(encoded(np.zeros((32, 32), np.uint8), "TIFF")).size == (32, 32)
    with pytest.raises(UnusableImage, match=r"damaged|truncated"):  # that its data are of another size is found later
        decode_image(tiled_tiff(256))


def test_frames_after_the_first_are_not_decoded() -> None:
    frames = [Image.effect_noise((64, 64), 50).convert("L") for _ in range(20)]
    for format_ in ("GIF", "WEBP", "TIFF", "PNG"):
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:])
        spoilt = data[:-160] + bytes(64) + data[-96:]
        assert decode_image(spoilt).tobytes() == decode_image(data).tobytes(), format_


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_large_exif_or_profile_is_no_hindrance(format_: str) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(60_000)
    data = encoded(np.zeros((32, 32, 3), np.uint8), format_, exif=exif, icc_profile=bytes(900_000))
    assert decode_image(data).size == (32, 32)


# where memory runs out


def failing(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_load", "not enough memory: 32x24 pixels need about 0 MiB"),
        ("to_rgb", "not enough memory: 32x24 pixels need about 0 MiB"),
        ("Image.open", "not enough memory to open a file of 85 bytes"),
    ],
)
def test_where_memory_runs_out_the_image_is_unusable(name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture()
    monkeypatch.setattr(decoding, name, failing) if "." not in name else monkeypatch.setattr(
        Image, "open", lambda *_, **__: failing()
    )
    with pytest.raises(UnusableImage) as caught:
        decode_image(data)
    assert str(caught.value) == expected.replace("85", str(len(data)))
    with pytest.raises(UnusableImage, match="not enough memory"):
        decode_mask(encoded(np.zeros((24, 32), np.uint8)), (32, 24)) if name != "to_rgb" else decode_image(data)


LIMITED = """
import resource, sys
from pathlib import Path
from stages.images.decoding import FORMATS, UnusableImage, decode_image
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 40 * 2**20,) * 2)
for path in sys.argv[1:]:
    try:
        print(decode_image(Path(path).read_bytes()).size)
    except UnusableImage as error:
        print(error)
"""


@needs_proc
def test_an_image_that_does_not_fit_into_memory_does_not_end_the_others(tmp_path: Path) -> None:
    for name, side in (("a", 32), ("b", 4000), ("c", 33)):
        (tmp_path / name).write_bytes(png(side, side, 16, 0, 1))
    paths = [str(tmp_path / name) for name in "abc"]
    done = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "(32, 32)",
        "not enough memory: 4000x4000 pixels need about 91 MiB",
        "(33, 33)",
    ]


# how much at a time


def test_images_wait_for_room_and_one_that_is_larger_than_all_room_comes_alone() -> None:
    budget, at_work, most, alone = PixelBudget(10), [], [], []

    def work(pixels: int) -> int:
        with budget.room_for(pixels):
            at_work.append(pixels)
            most.append(sum(at_work))
            if pixels > 10:
                alone.append(len(at_work))
            time.sleep(0.002)
            at_work.remove(pixels)
        return pixels

    sizes = [3, 4, 20, 5, 1, 11, 6, 3] * 5
    assert list(prefetch(work, sizes, threads=8, ahead=16)) == sizes
    assert all(total <= 10 or total in (20, 11) for total in most)
    assert set(alone) == {1}


def test_room_is_given_back_after_a_failure() -> None:
    budget = PixelBudget(10)
    for _ in range(3):
        with pytest.raises(UnusableImage), budget.room_for(10):
            raise UnusableImage
    done = threading.Event()

    def work() -> None:
        with budget.room_for(10):
            done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(10)


def test_decoding_takes_room_for_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Noting(PixelBudget):
        def room_for(self, pixels: int) -> Any:
            asked.append(pixels)
            return super().room_for(pixels)

    monkeypatch.setattr(decoding, "DECODING", Noting(10**6))
    decode_image(picture(32, 24))
    with loaded_image(picture(20, 20)):
        pass
    assert asked == [32 * 24, 20 * 20]
