"""Small images in memory and on disk, good and bad."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(image: Image.Image | np.ndarray, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, format_, **options)
    return buffer.getvalue()


def picture(width: int = 32, height: int = 24, value: int = 100, format_: str = "PNG") -> bytes:
    return encoded(Image.new("RGB", (width, height), (value, value, value)), format_)


def mask(width: int = 32, height: int = 24) -> bytes:
    """Of classes 0 to 4."""
    return encoded((np.arange(width * height) % 5).astype(np.uint8).reshape(height, width))


def png_with_header(width: int, height: int, depth: int = 8, colour_type: int = 2) -> bytes:
    """A PNG that claims a size and depth, and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def fill(folder: Path, *paths: str, data: bytes | None = None) -> Path:
    """Write `data`, or a picture, to each of the paths below `folder`, and return the folder."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(picture() if data is None else data)
    return folder
