"""Selectors: ways of choosing which patches are kept, one file each; `stages.tables` names them."""
