"""Glance and Focus: a network that looks at an image at low resolution, then at one place after the other."""
