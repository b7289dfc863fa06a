"""The settings of each stage: what users choose, within which bounds, and what help says of it.

Help and completion read these and nothing else of a stage, so nothing here imports torch, numpy or what does; methods
that make something of the settings import what they need.
"""
