"""From a clip to its region tree: every step of the path in one file.

frames -> patches of each frame, as of a photograph                    (parser)
       -> smoothed along the frames, a window of them at a time        (spectral.smoothtime)
       -> tubes: groups of patches that run through the window         (spectral.tubes)
       -> borders at each frame's edges, still where nothing changes   (clips.steady)
       -> tubes that go on in the next window are one                  (clips.linking)
       -> one tree over all tubes                                      (hierarchy)

Memory holds one window of frames, some numbers for each tube, and the label maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.clips.drawn import DrawnWindow
from regiontree.clips.linking import TubeTable, continued
from regiontree.clips.look import SeenFrame, seen_frames
from regiontree.clips.settings import ClipSettings, check_for_clips, clip_settings
from regiontree.clips.steady import SteadyLabels
from regiontree.clips.window import drawn_frames, group_window, smoothed_window
from regiontree.errors import SettingsError
from regiontree.frames import Frames, open_frames
from regiontree.hierarchy.base import node_embeddings
from regiontree.parser import Patches, RegionParser
from regiontree.spectral.graph import PartGraph
from regiontree.system.stages import values_of
from regiontree.tree import ClipTree, StopReason
from regiontree.tree.nodata import with_no_data

__all__ = ["ClipParser", "parse_clip"]


@dataclass(frozen=True, slots=True)
class _Window:
    """Frames that are grouped together, with how many are shared at either end."""

    frames: list[SeenFrame]
    head: int
    tail: int
    begins: bool

    @property
    def own(self) -> slice:
        """The frames that this window draws."""
        return slice(self.head - self.head // 2, len(self.frames) - self.tail // 2)

    @property
    def after(self) -> int:
        """Number of the frame behind the last."""
        return self.frames[-1].index + 1


@dataclass(frozen=True, slots=True)
class ClipNodes:
    """The tree of a clip without its pixels.

    Attributes
    ----------
    arrays : dict
        parents, height, ncut, stop, embedding and descriptor, as in
        :class:`~regiontree.tree.ClipTree`.
    meta : dict
    leaves : sequence of (k,) int64
        For each window, the leaf of each of its tubes; -1 for one that has no pixel.
    without_data : int
        The leaf of pixels without data, if there are any.
    """

    arrays: dict[str, Any]
    meta: dict[str, Any]
    leaves: Sequence[NDArray[np.int64]]
    without_data: int

    def label_maps(self, windows: Iterable[DrawnWindow]) -> Iterator[NDArray[np.int32]]:
        """The leaf of each pixel of each frame, (H, W) one at a time."""
        for window, leaves in zip(windows, self.leaves, strict=True):
            yield from window.leaves(leaves, self.without_data)


class ClipParser:
    """Makes one region tree of all frames of a clip.

    Parameters
    ----------
    parser : RegionParser or None
        How each frame is looked at. None: a new one, made with `options`.
    clip : ClipSettings, mapping or None
        Settings of the clip.
    **options
        As :class:`~regiontree.parser.RegionParser` takes them.

    Raises
    ------
    SettingsError
        A setting is out of range, or its method is for single photographs.
    """

    def __init__(
        self,
        parser: RegionParser | None = None,
        *,
        clip: ClipSettings | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if parser is not None and options:
            raise SettingsError(
                f"parser already has its options; leave out {', '.join(options)}, or parser"
            )
        self.parser = RegionParser(**options) if parser is None else parser
        check_for_clips(self.parser.settings)
        self.clip = clip_settings(clip)

    def parse(self, frames: Frames, *, done: Callable[[int], None] | None = None) -> ClipTree:
        """The region tree of a clip.

        Parameters
        ----------
        frames
            What :func:`regiontree.frames.open_frames` opened.
        done
            Called with the number of frames that are finished.

        Raises
        ------
        RegionTreeError
            A subclass whose message says what is wrong with the clip, a frame or the settings.
        """
        windows = []
        for window in self.windows(frames):
            windows.append(window)
            if done is not None:
                done(window.first + len(window.maps))
        return self.tree(frames, windows)

    def windows(self, frames: Frames, after: DrawnWindow | None = None) -> Iterator[DrawnWindow]:
        """The windows of a clip in their order, drawn one after the other.

        Parameters
        ----------
        frames
            What :func:`regiontree.frames.open_frames` opened.
        after
            A window that is drawn: those behind it come. None: all of them.
        """
        steady = SteadyLabels(self.clip.steady)
        tail = None
        if after is not None:
            steady.state, tail = after.state, after.tubes.tail
        for window in self._gathered(frames, after):
            patches = [seen.patches for seen in window.frames]
            rows = smoothed_window(patches, self.parser.settings)
            count = self._count(len(patches))
            tubes = group_window(patches, rows, count, window.own, window.head, window.tail)
            if window.begins or tail is None:
                steady.forget()
            else:
                steady.renumber(_same(tail, tubes.head))
            labels = [
                steady.step(drawn, seen.rgb, _speck(seen.patches))
                for drawn, seen in zip(
                    drawn_frames(self.parser, patches, rows, tubes, window.own),
                    window.frames[window.own],
                    strict=True,
                )
            ]
            tail = tubes.tail
            yield DrawnWindow.of(
                labels,
                tubes,
                first=window.frames[window.own][0].index,
                begins=window.begins,
                next_frame=window.frames[-window.tail].index if window.tail else window.after,
                next_shown=window.frames[-window.tail].shown if window.tail else window.after,
                state=steady.state,
            )

    def tree(self, frames: Frames, windows: Sequence[DrawnWindow]) -> ClipTree:
        """The tree of a clip whose windows are drawn."""
        nodes = self.nodes(frames, windows)
        labels = list(nodes.label_maps(windows))
        whole = labels if frames.size is None else np.stack(labels)
        return ClipTree(labels=whole, meta=nodes.meta, **nodes.arrays)

    def nodes(self, frames: Frames, windows: Iterable[DrawnWindow]) -> ClipNodes:
        """The nodes of a clip's tree. `windows` are gone through once, one at a time."""
        table, numbers, absent, shots = TubeTable(), [], 0, []
        for window in windows:
            if window.begins:
                table.part()
                shots.append(window.first)
            numbers.append(table.add(window.tubes))
            pixels = window.pixels()
            table.count_pixels(numbers[-1], pixels)
            absent += sum(own.size for own in window.maps) - int(pixels.sum())
        graph, part = table.graph()
        if graph is None:
            arrays, leaf, without_data = _nothing(), np.full(len(part), -1, np.int64), 0
        else:
            arrays, leaf = self._arrays(graph, part, table.descriptors())
            without_data = int((arrays["stop"] != StopReason.INNER).sum())
            if absent:
                arrays = with_no_data(np.zeros(0, bool), labels=np.zeros(0, np.int32), **arrays)
                del arrays["labels"]
        leaves = [leaf[own] for own in numbers]
        return ClipNodes(arrays, self._meta(frames, shots), leaves, without_data)

    # -- steps of the path ------------------------------------------------------------------------

    def _gathered(self, frames: Frames, after: DrawnWindow | None) -> Iterator[_Window]:
        """The frames in windows, those behind a drawn window if one is given."""
        most, overlap = self.clip.window + self.clip.overlap, self.clip.overlap
        first, shown, begins = 0, 0, True
        if after is not None:
            first, shown = after.next_frame, after.next_shown
            begins = not len(after.tubes.tail)
        head = 0 if begins else overlap
        waiting: list[SeenFrame] = []
        seen = seen_frames(
            self.parser, frames, change=self.clip.still, first=first, shown=shown
        )  # fmt: skip
        for frame in seen:
            if frame.begins and waiting:
                yield _Window(waiting, head, 0, begins)
                waiting, head, begins = [], 0, True
            waiting = [*waiting, frame]
            if len(waiting) == most:
                yield _Window(waiting, head, overlap, begins)
                waiting, head, begins = waiting[-overlap:], overlap, False
        last = _Window(waiting, head, 0, begins)
        if waiting[last.own]:  # the window before may own all of a few frames
            yield last

    def _count(self, n_frames: int) -> int:
        """Number of tubes of a window."""
        count: int = self.parser.settings.parts.count  # type: ignore[attr-defined]
        return max(1, round(count * min(self.clip.density, n_frames)))

    def _arrays(
        self, graph: PartGraph, part: NDArray[np.int64], sums: NDArray[np.float64] | None
    ) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """The arrays of the tree's nodes, and the leaf of each number of a tube; -1 without one."""
        settings = self.parser.settings
        tree = settings.tree.build(graph, seed=settings.seed)
        descriptor = None
        if sums is not None:
            descriptor = _mean_descriptors(sums, tree.leaf_of_part, graph.count)
        arrays = {
            "parents": tree.parents,
            "height": tree.height,
            "ncut": tree.ncut,
            "stop": tree.stop,
            "embedding": node_embeddings(tree, graph) if settings.embeddings else None,
            "descriptor": descriptor,
        }
        return arrays, np.where(part >= 0, tree.leaf_of_part[part], -1)

    def _meta(self, frames: Frames, shots: list[int]) -> dict[str, Any]:
        settings = self.parser.settings
        return {
            "software": f"regiontree {__version__}",
            "backbone": self.parser.describe(),
            "settings": settings.as_dict(),
            "natural_height": settings.tree.natural_height,
            "clip": {
                "name": frames.name,
                "sha256": frames.digest,
                "settings": values_of(self.clip),
                "shots": shots,
                **frames.facts,
            },
        }


def parse_clip(
    source: Any,
    *,
    every: int = 1,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    joint: bool = False,
    clip: ClipSettings | Mapping[str, Any] | None = None,
    **options: Any,
) -> ClipTree:
    """The region tree of a clip, whose nodes are tubes: regions that run through its frames.

    Parameters
    ----------
    source, every, fps, start, end, joint
        As :func:`regiontree.frames.open_frames` takes them.
    clip
        Settings of the clip: see :class:`~regiontree.clips.settings.ClipSettings`.
    **options
        As :class:`~regiontree.parser.RegionParser` takes them.

    Raises
    ------
    RegionTreeError
        A subclass whose message says what is wrong with the clip, a frame or the settings.

    Examples
    --------
    >>> tree = parse_clip("clip.mp4")                                       # doctest: +SKIP
    >>> tree.cut(n_regions=8)                  # (T, H, W) labels           # doctest: +SKIP
    """
    frames = open_frames(source, every=every, fps=fps, start=start, end=end, joint=joint)
    return ClipParser(clip=clip, **options).parse(frames)


def _speck(patches: Patches) -> float:
    """Pixels of half a patch: a smaller piece of a region is a speck."""
    (height, width), (h, w) = patches.size, patches.grid
    return 0.5 * height * width / (h * w)


def _same(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each tube of the window before, the tube of the next one that goes on with it, or -1.

    `before` and `after` are the tubes of the patches of the shared frames.
    """
    goes_on = continued(before, after)
    table = np.full(int(before.max(initial=-1)) + 1, -1, np.int64)
    found = np.flatnonzero(goes_on >= 0)
    table[goes_on[found]] = found
    return table


def _mean_descriptors(
    sums: NDArray[np.float64], leaf_of_part: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.float16]:
    """The mean descriptor of each leaf, (L, e)."""
    n = int(leaf_of_part.max()) + 1
    total = np.zeros((n, sums.shape[1]))
    np.add.at(total, leaf_of_part, sums)
    means = total / np.bincount(leaf_of_part, count, n)[:, None]
    mean: NDArray[np.float16] = means.astype(np.float16)
    return mean


def _nothing() -> dict[str, Any]:
    """The nodes of a clip in which no pixel has data: one leaf."""
    return {
        "parents": np.zeros(1, np.int32),
        "height": np.zeros(1, np.float32),
        "ncut": np.zeros(1, np.float32),
        "stop": np.array([StopReason.NO_DATA], np.uint8),
        "embedding": None,
        "descriptor": None,
    }
