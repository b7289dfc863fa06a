"""Learning to rank from cached scores: what it is fed, what it is held against."""
