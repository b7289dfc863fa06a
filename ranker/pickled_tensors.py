"""PyTorch's pickled checkpoints, read without running what is in them."""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from typing import Any

import torch

_CHUNK = 1 << 24


def unpickle_tensors(data: bytes, where: str) -> dict[Any, Any]:
    """The dictionary in a .pth file: of tensors and plain values, and of the `argparse.Namespace` of options that
    published codes save beside them. Raises ValueError, naming `where`, for anything else, and for a file in which
    bytes have changed since it was saved."""
    if data.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(data)):
        _refuse_damaged_archive(data, where)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a bad file, and what they share is their meaning
        reason = _reason(error, data)
        raise ValueError(f"{where}: not a checkpoint of tensors that can be read safely: {reason}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


def _refuse_damaged_archive(data: bytes, where: str) -> None:
    """PyTorch does not look at the checksums of its archives, nor at what unpacking them takes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            records = archive.infolist()
            if sum(record.file_size for record in records) > len(data):
                raise ValueError(f"{where}: expected records that fit into {len(data)} bytes: the archive is packed")
            damaged = [record.filename for record in records if _is_damaged(archive, record)]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{where}: not a checkpoint of tensors that can be read safely: {error}") from None
    # All of them: saved with torch.serialization.set_crc32_options(False), which leaves checksums out.
    if damaged and len(damaged) < len(records):
        raise ValueError(f"{where}: damaged: {damaged[0]}, a part of it, is not as it was saved (by its CRC-32)")


def _is_damaged(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(record) as file:
            while file.read(_CHUNK):
                pass
    except zipfile.BadZipFile:
        return True
    return False


def _reason(error: Exception, data: bytes) -> str:
    """In one line, without PyTorch's advice to switch its safeguards off."""
    if not data:
        return "the file is empty"
    text = str(error)
    if found := re.search(r"GLOBAL (\S+) was not an allowed", text):
        return f"it holds a {found[1]}, and only tensors and plain values are read"
    if not data.startswith((b"PK", b"\x80")):
        return "it does not begin as files of torch.save do"
    detail = text.rpartition("WeightsUnpickler error:")[2].strip() or type(error).__name__
    return detail.splitlines()[0][:200]
