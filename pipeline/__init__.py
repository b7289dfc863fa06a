"""How and where work runs: command line, configuration, planning, execution on this machine or with Ray, progress."""

import os

# Ray reads these when it is imported: tell nobody of its use, leave the GPUs visible to actors that ask for none, and
# train with the second version of Ray Train where the first is still the default.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

__distribution__ = "ltrp-pipeline"
