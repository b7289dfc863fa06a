"""What lies on disk or in a bucket: files, tars and arrays. Knows bytes, not models; runs without torch."""

__distribution__ = "ltrp-pipeline"
