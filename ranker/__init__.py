"""The ranking model of patches, usable alone: nothing here needs another part of this project."""
