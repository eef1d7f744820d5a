"""A window of a clip: some consecutive frames whose patches are grouped into tubes together.

Neighbouring windows share frames. The first half of them belongs to the earlier window and the
second half to the later one: these are a window's *own* frames, which it draws and counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from regiontree.hierarchy.base import node_embeddings
from regiontree.images.colours import patch_colours
from regiontree.parser import Patches, RegionParser
from regiontree.settings import Settings
from regiontree.spectral.contiguous import linked_groups
from regiontree.spectral.graph import MAX_PARTS, PartGraph, no_weights
from regiontree.spectral.groups import sum_by_index
from regiontree.spectral.smoothtime import smooth_in_time
from regiontree.spectral.tubes import pairs_in_time
from regiontree.tree.renumber import renumbered

__all__ = ["WindowTubes", "drawn_frames", "group_window", "smoothed_window"]

Ints = NDArray[np.int64]
Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class WindowTubes:
    """The tubes of a window.

    Attributes
    ----------
    part : sequence of (n_t,) int64
        The tube of each patch that has data, one array a frame of the window.
    count : (k,) int64
        Patches of each tube in the window's own frames.
    sums : (k, d) float64
        Sum of the features of these patches.
    pairs : (m, 2) int64
        Tubes that touch.
    head, tail : (n,) int64
        The tube of each patch of the frames shared with the window before and with the one after;
        empty if there is no such window.
    descriptors : (k, e) float64 or None
        Sum of the descriptors of the patches counted.
    """

    part: Sequence[Ints]
    count: Ints
    sums: NDArray[np.float64]
    pairs: Ints
    head: Ints
    tail: Ints
    descriptors: NDArray[np.float64] | None = None


def smoothed_window(frames: Sequence[Patches], settings: Settings) -> list[torch.Tensor]:
    """The features of the patches of each frame, (n_t, d), smoothed along the frames."""
    steps, contrast = settings.smooth.steps, settings.smooth.contrast
    if not steps or len(frames) < 2:
        return [frame.unit for frame in frames]
    h, w = frames[0].grid
    whole = [frame.gaps is None and len(frame.unit) > 0 for frame in frames]
    there = None
    if not all(whole):
        there = [torch.from_numpy(_there(frame).reshape(h * w)) for frame in frames]
    colours = None
    if contrast is not None and all(frame.rgb is not None for frame in frames):
        colours = [
            torch.from_numpy(patch_colours(frame.rgb, (h, w)).reshape(3, -1).T.copy())
            for frame in frames
            if frame.rgb is not None
        ]
    d = max(frame.unit.shape[1] for frame in frames)
    grids = [
        frame.on_grid().reshape(h * w, d) if len(frame.unit) else frame.unit.new_zeros(h * w, d)
        for frame in frames
    ]
    smooth = smooth_in_time(
        grids, steps=steps, colours=colours, contrast=contrast or 1.0, there=there
    )
    if there is None:
        return smooth
    return [rows[seen] for rows, seen in zip(smooth, there, strict=True)]


def group_window(
    frames: Sequence[Patches],
    rows: Sequence[torch.Tensor],
    count: int,
    own: slice,
    head: int,
    tail: int,
) -> WindowTubes:
    """The tubes of a window.

    Parameters
    ----------
    frames
        All of one grid.
    rows
        What :func:`smoothed_window` gave.
    count
        Number of tubes aimed at.
    own
        The window's own frames.
    head, tail
        Number of frames shared with the window before and with the one after.
    """
    h, w = frames[0].grid
    there = np.stack([_there(frame) for frame in frames])
    pairs = pairs_in_time((len(frames), h, w), None if there.all() else there)
    stacked = torch.cat(list(rows)).cpu()
    found = linked_groups(stacked.numpy(), pairs, min(count, MAX_PARTS))
    k = int(found.max(initial=-1)) + 1
    edges = np.cumsum([len(frame) for frame in rows])[:-1]
    part = np.split(found, edges)
    owned = torch.cat([row.double() for row in rows[own]]).cpu()
    group = np.concatenate(part[own])
    touching = np.unique(np.sort(found[pairs], axis=1), axis=0)
    described = [frame.descriptors for frame in frames[own]]
    descriptors = None
    if all(given is not None for given in described):
        values = torch.cat([_described(frame) for frame in frames[own]])
        descriptors = sum_by_index(values, torch.from_numpy(group), k).numpy()
    return WindowTubes(
        part=part,
        count=np.bincount(group, minlength=k),
        sums=sum_by_index(owned, torch.from_numpy(group), k).numpy(),
        pairs=touching[touching[:, 0] != touching[:, 1]],
        head=np.concatenate([found[:0], *part[:head]]),
        tail=np.concatenate([found[:0], *part[len(part) - tail :]]),
        descriptors=descriptors,
    )


def drawn_frames(
    parser: RegionParser,
    frames: Sequence[Patches],
    rows: Sequence[torch.Tensor],
    tubes: WindowTubes,
    own: slice,
) -> Iterator[Int32]:
    """The tube of each pixel of the window's own frames, (H, W) int32 one at a time.

    Borders are drawn as on a photograph. The tree that says which tubes belong together is that of
    the window's tubes. A pixel without data has -1.
    """
    stacked = torch.cat(list(rows)).double().cpu()
    group = np.concatenate(list(tubes.part))
    k = len(tubes.count)
    if not k:
        for frame in frames[own]:
            yield np.full(frame.size, -1, np.int32)
        return
    sums = sum_by_index(stacked, torch.from_numpy(group), k).numpy()
    graph = PartGraph(no_weights, np.bincount(group, minlength=k), sums)
    tree = parser.settings.tree.build(graph, seed=parser.settings.seed)
    embedding = node_embeddings(tree, graph)
    # A leaf of the window's tree may hold several equal tubes. The first stands for all.
    tube_of_leaf = np.zeros(len(tree.parents), np.int32)
    tube_of_leaf[tree.leaf_of_part[::-1]] = np.arange(k)[::-1]
    for frame, row, part in zip(frames[own], rows[own], tubes.part[own], strict=True):
        if not len(part):
            yield np.full(frame.size, -1, np.int32)
            continue
        leaf = tree.leaf_of_part[part].astype(np.int32)
        shown = renumbered(leaf[None], tree.parents, tree.height)
        old = np.empty(int(shown["labels"].max()) + 1, np.int64)
        old[shown["labels"][0]] = leaf
        patches = dataclasses.replace(frame, unit=row)
        drawn = parser.draw(
            patches, shown["labels"][0], shown["parents"], shown["height"], embedding[old]
        )
        labels = tube_of_leaf[old[drawn]]
        if frame.valid is not None:
            labels = np.where(frame.valid, labels, np.int32(-1))
        yield labels


def _there(frame: Patches) -> NDArray[np.bool_]:
    """Which patches of a frame have data, (h, w)."""
    if frame.gaps is not None:
        return frame.gaps.there
    return np.full(frame.grid, len(frame.unit) > 0)


def _described(frame: Patches) -> torch.Tensor:
    """The descriptors of the patches that have data, (n_t, e) float64."""
    assert frame.descriptors is not None
    values = frame.descriptors.reshape(-1, frame.descriptors.shape[2]).double().cpu()
    return values[torch.from_numpy(_there(frame).reshape(-1))]
