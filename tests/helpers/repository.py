"""Where the tests find the project's own files, and the data that lies beside a checkout on some machines."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
GOLDEN = SHARED / "golden" / "ltrp_reference.npz"
