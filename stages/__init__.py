"""What each step does to data. Runs without Ray: where work happens is never asked here."""

__distribution__ = "ltrp-pipeline"
