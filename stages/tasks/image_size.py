"""The size of an image, by its header."""

from __future__ import annotations

import io

from PIL import Image

from stages.images import FORMATS, UnusableImage


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height; nothing is decoded. Raises `UnusableImage` where there is no readable header."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except MemoryError:
        raise
    except Exception:  # decoders raise many kinds for damaged bytes
        raise UnusableImage(f"not an image of a known format ({', '.join(FORMATS)})") from None
