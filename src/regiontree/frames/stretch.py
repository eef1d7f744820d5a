"""One stretch for the deep samples of all frames of a clip, so that it does not flicker."""

from __future__ import annotations

from collections.abc import Iterable

from regiontree.images import LoadedImage

__all__ = ["Limits", "common_limits", "spread"]

Limits = tuple[float, float]
"""The values that become black and white; the lower one first."""
_SAMPLED = 16


def spread(count: int) -> list[int]:
    """Numbers of up to 16 frames that are spread evenly over a clip, the first and last among them.

    >>> spread(3), spread(1000)[:3]
    ([0, 1, 2], [0, 66, 133])
    """
    most = min(count, _SAMPLED)
    return [place * (count - 1) // max(1, most - 1) for place in range(most)]


def common_limits(images: Iterable[LoadedImage]) -> Limits:
    """The lowest and the highest value that frames are shown with; at least one has a stretch."""
    shown = [image.facts["stretch"] for image in images if "stretch" in image.facts]
    ends = [end for stretch in shown for end in (stretch["low"], stretch["high"])]
    return min(ends), max(ends)
