"""`python -m pipeline`: the same as `ltrp-pipeline`."""

from pipeline.cli import main

main(prog_name="ltrp-pipeline")
