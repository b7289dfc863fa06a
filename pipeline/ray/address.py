"""Which Ray is meant: worked out without importing Ray."""

from __future__ import annotations

import re

ADDRESS_VARIABLE = "RAY_ADDRESS"
RAY_PORT = 6379


def resolve_address(address: str | None, from_environment: str) -> str:
    """ "local", "auto", "HOST:PORT" or "ray://HOST:PORT", of what settings say and what RAY_ADDRESS does."""
    if from_environment.startswith(("http://", "https://")):
        from_environment = ""  # where jobs are submitted, which is no place to connect a driver to
    if address is None or address == "auto":
        address = from_environment or address or "local"
    if address in ("local", "auto") or "://" in address or re.search(r":\d+$", address):
        return address
    return f"{address}:{RAY_PORT}"
