"""How and where work runs: command line, configuration, planning, execution on this machine or with Ray, progress."""
