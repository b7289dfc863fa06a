"""How and where work runs: command line, configuration, planning, execution on this machine or with Ray, progress."""

import os

# Ray reads these when it is imported: tell nobody of its use, and leave the GPUs visible to actors that ask for none.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
