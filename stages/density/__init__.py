"""Semantic density: how much an MAE's reconstruction changes without one visible patch (paper, section 3.2)."""
