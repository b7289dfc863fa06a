"""Whether this machine is fit for the pipeline: a file for each family of checks, a line for each check."""
