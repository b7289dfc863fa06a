"""Formats that scores of patches are exported to, one file each; `stages.tables` names them."""
