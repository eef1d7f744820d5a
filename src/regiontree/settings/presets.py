"""Presets: settings that belong together, under one name."""

from __future__ import annotations

from typing import Any

__all__ = ["PRESETS"]

# published: every setting of the paper, no descriptors and no stability. The network sees one
# square view in full precision. The recursion divides 200 parts, which come from ten k-means
# starts. max_perturbation has the value of the published configs. The published code ignores that
# value and uses 50.
# default: the network sees the photograph once at 518 pixels, its size in training. Parts are 400
# groups of merged neighbours, and spectral Ward builds the tree.
# accurate: the network sees the photograph four times. Smoothing is stronger because the grid is
# finer.
# fast: the network sees the photograph once at 392 pixels.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "accurate": {"view": {"views": 4}, "smooth": {"steps": 4}},
    "fast": {"view": {"size": 392}},
    "published": {
        "backbone": {"dtype": "float32", "facet": "token", "descriptor": "none"},
        "view": {"size": (840, 840), "views": 1},
        "smooth": {"steps": 0, "contrast": None},
        "affinity": {"kind": "minmax", "distance": "cosine", "threshold": 0.0},
        "parts": {
            "method": "simultaneous",
            "count": 200,
            "restarts": 10,
            "tolerance": 1e-3,
            "vectors": None,
        },
        "tree": {
            "builder": "recursive",
            "levels": 9,
            "max_ways": 10,
            "min_parts": 1,
            "max_ncut": 0.8,
            "max_perturbation": 80.0,
            "heuristic": "maxgap",
        },
        "refine": "none",
        "seed": 1234,
        "stability": 0,
    },
}
"""Presets: name to the settings in which it differs from the defaults."""
