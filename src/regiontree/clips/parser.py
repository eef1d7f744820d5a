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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.backbones.featurefile import Features
from regiontree.clips.drawn import DrawnWindow
from regiontree.clips.linking import TubeTable, continued
from regiontree.clips.settings import ClipSettings, check_for_clips
from regiontree.clips.steady import SteadyLabels
from regiontree.clips.window import drawn_frames, group_window, smoothed_window
from regiontree.errors import SettingsError
from regiontree.frames import Frame, Frames, Shots, open_frames, still
from regiontree.hierarchy.base import node_embeddings
from regiontree.images import nearest
from regiontree.parser import Patches, RegionParser
from regiontree.system.stages import values_of
from regiontree.tree import ClipTree, StopReason
from regiontree.tree.nodata import with_no_data

__all__ = ["ClipParser", "parse_clip"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame as it waits for its window."""

    index: int
    patches: Patches
    rgb: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Window:
    """Frames that are grouped together, with how many are shared at either end."""

    frames: list[_Seen]
    head: int
    tail: int
    begins: bool

    @property
    def own(self) -> slice:
        """The frames that this window draws."""
        return slice(self.head - self.head // 2, len(self.frames) - self.tail // 2)


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
        self.clip = clip if isinstance(clip, ClipSettings) else ClipSettings(**(clip or {}))

    def parse(
        self, frames: Frames, *, done: Callable[[int], None] | None = None
    ) -> ClipTree:
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

    def windows(self, frames: Frames) -> Iterator[DrawnWindow]:
        """The windows of a clip in their order, drawn one after the other."""
        steady, before = SteadyLabels(self.clip.steady), None
        for window in self._gathered(frames):
            patches = [seen.patches for seen in window.frames]
            rows = smoothed_window(patches, self.parser.settings)
            count = self._count(len(patches))
            tubes = group_window(patches, rows, count, window.own, window.head, window.tail)
            if window.begins:
                steady.forget()
            elif before is not None:
                steady.renumber(_same(before, tubes.head))
            labels = [
                steady.step(drawn, seen.rgb)
                for drawn, seen in zip(
                    drawn_frames(self.parser, patches, rows, tubes, window.own),
                    window.frames[window.own],
                    strict=True,
                )
            ]
            before = tubes.tail
            first = window.frames[window.own][0].index
            yield DrawnWindow.of(first, tubes, labels, window.begins)

    def tree(self, frames: Frames, windows: Iterable[DrawnWindow]) -> ClipTree:
        """The tree of a clip whose windows are drawn. `windows` are gone through twice."""
        windows = list(windows)
        table, numbers, absent = TubeTable(), [], 0
        for window in windows:
            if window.begins:
                table.part()
            numbers.append(table.add(window.tubes))
            pixels = window.pixels()
            table.count_pixels(numbers[-1], pixels)
            absent += sum(own.size for own in window.maps) - int(pixels.sum())
        arrays, leaf = self._nodes(table)
        without_data = int((np.asarray(arrays["stop"]) != StopReason.INNER).sum())
        if absent and len(leaf) and leaf.max() >= 0:
            arrays = with_no_data(np.zeros(0, bool), labels=np.zeros(0, np.int32), **arrays)
            del arrays["labels"]
        elif absent:
            without_data = 0
        labels = [
            own
            for window, number in zip(windows, numbers, strict=True)
            for own in window.leaves(leaf[number], without_data)
        ]
        is_joint = frames.size is None
        return ClipTree(
            labels=labels if is_joint else np.stack(labels),
            meta=self._meta(frames, windows),
            **arrays,
        )

    # -- steps of the path ------------------------------------------------------------------------

    def _gathered(self, frames: Frames) -> Iterator[_Window]:
        """The frames in windows."""
        waiting: list[_Seen] = []
        head, begins, most = 0, True, self.clip.window + self.clip.overlap
        for seen, is_cut in self._seen(frames):
            if is_cut and waiting:
                yield _Window(waiting, head, 0, begins)
                waiting, head, begins = [], 0, True
            waiting = [*waiting, seen]
            if len(waiting) == most:
                yield _Window(waiting, head, self.clip.overlap, begins)
                waiting, head, begins = waiting[-self.clip.overlap :], self.clip.overlap, False
        if waiting:
            yield _Window(waiting, head, 0, begins)

    def _seen(self, frames: Frames) -> Iterator[tuple[_Seen, bool]]:
        """Each frame with its patches, and whether a new shot begins with it."""
        is_joint, shots = frames.size is None, Shots()
        features: Features | None = None
        shown: NDArray[np.uint8] | None = None  # the last frame that the network saw
        for frame in frames:
            is_cut = is_joint or shots.begins(frame.image.rgb)
            if shown is None or features is None or is_joint or not self.clip.still:
                skips = False
            else:
                skips = not is_cut and still(frame.image.rgb, shown) < self.clip.still
            if skips and features is not None:
                found = replace(features, valid=_valid_of(frame))
            else:
                found = self.parser.extract(frame.image, always=True)
                features, shown = found, frame.image.rgb
            rgb = self.parser.pixels(frame.image, decoded=frame.image)
            patches = self.parser.prepare(found, rgb=rgb)
            yield _Seen(frame.index, patches, frame.image.rgb), is_cut

    def _count(self, n_frames: int) -> int:
        """Number of tubes of a window."""
        count: int = self.parser.settings.parts.count  # type: ignore[attr-defined]
        return max(1, round(count * min(self.clip.density, n_frames)))

    def _nodes(self, table: TubeTable) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """The arrays of the tree's nodes, and the leaf of each number of a tube, -1 if it has none."""
        graph, part = table.graph()
        settings = self.parser.settings
        if not len(graph.count):
            return _nothing(), np.full(len(part), -1, np.int64)
        tree = settings.tree.build(graph, seed=settings.seed)
        sums, descriptor = table.descriptors(), None
        leaf = np.where(part >= 0, tree.leaf_of_part[part], -1)
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
        return arrays, leaf

    def _meta(self, frames: Frames, windows: list[DrawnWindow]) -> dict[str, Any]:
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
                "shots": [window.first for window in windows if window.begins],
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


def _valid_of(frame: Frame) -> NDArray[np.bool_] | None:
    """Which pixels of a frame have data, at its own size."""
    image = frame.image
    return None if image.valid is None else nearest(image.valid, image.size)


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
