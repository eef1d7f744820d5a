"""What is left of a window once it is drawn, in memory or in a folder.

A window's label maps hold the numbers of its own tubes. When all windows are done, a table for each
window turns these into leaves of the clip's tree. So maps are written once, and a run that was
interrupted goes on behind its last whole window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.clips.steady import SteadyState
from regiontree.clips.window import WindowTubes

__all__ = ["NOTHING", "DrawnWindow"]

NOTHING = 65_535
"""The label of pixels without data in a drawn window."""


@dataclass(frozen=True, slots=True)
class DrawnWindow:
    """One window, drawn.

    Attributes
    ----------
    first : int
        Number of its first own frame in the clip.
    tubes : WindowTubes
        Without the tube of each patch.
    maps : sequence of (H, W) uint16
        The tube of each pixel of the own frames; :data:`NOTHING` without data.
    begins : bool
        Whether it begins after a cut in the film, or the clip itself.
    next_frame : int
        The first frame of the next window.
    next_shown : int
        The frame that the network saw in place of that one.
    state : SteadyState or None
        The last own frame, for what comes next.
    """

    first: int
    tubes: WindowTubes
    maps: Sequence[NDArray[np.uint16]]
    begins: bool
    next_frame: int
    next_shown: int
    state: SteadyState | None

    @classmethod
    def of(
        cls, labels: Sequence[NDArray[np.int32]], tubes: WindowTubes, **facts: Any
    ) -> DrawnWindow:
        """The window of label maps in which pixels without data have -1."""
        maps = [np.where(own < 0, NOTHING, own).astype(np.uint16) for own in labels]
        return cls(tubes=replace(tubes, part=()), maps=maps, **facts)

    def pixels(self) -> NDArray[np.int64]:
        """Pixels of each tube, (k,)."""
        found = np.zeros(NOTHING + 1, np.int64)
        for own in self.maps:
            found += np.bincount(own.reshape(-1), minlength=NOTHING + 1)
        return found[: len(self.tubes.count)]

    def leaves(
        self, leaf_of_tube: NDArray[np.integer], without_data: int
    ) -> Iterator[NDArray[np.int32]]:
        """The label map of each own frame in leaves of the clip's tree.

        Parameters
        ----------
        leaf_of_tube
            (k,) the leaf of each tube of the window.
        without_data
            The leaf of pixels without data.
        """
        table = np.full(NOTHING + 1, without_data, np.int32)
        table[: len(leaf_of_tube)] = leaf_of_tube
        for own in self.maps:
            yield table[own]
