"""`ltrp-pipeline`, also as `python -m pipeline`."""

from __future__ import annotations

import sys


def start() -> None:
    """Says what is missing where only what `ranker` needs is installed."""
    try:
        from pipeline.cli import main
    except ModuleNotFoundError as error:
        sys.exit(f"Error: {error}; expected all that ltrp-pipeline needs: pip install ltrp-pipeline")
    main(prog_name="ltrp-pipeline")


if __name__ == "__main__":
    start()
