"""Stages run where settings say, one file each: what the commands and `ltrp` both call.

A run does what is not done yet, tells a `Watch` how it goes, and returns what came of it; words and exit statuses are
for whoever calls it.
"""
