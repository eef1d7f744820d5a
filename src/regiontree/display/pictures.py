"""Pictures of a tree over its photograph: the hierarchy, and cuts from coarse to fine.

Colours say where a region sits in the tree. The colour circle is shared out from the root down:
every node owns an arc, its children divide that arc, and a node's hue is the middle of its own. So
near colours are near in the tree, a region keeps its hue family when it is divided, and the same
region has the same colour in every picture. Siblings also differ in lightness, which tells them
apart when their arcs have become narrow. Colours are spaced in OKLCH, where equal steps look
equal (Ottosson, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regiontree.images import load_image, nearest
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.stop import StopReason

__all__ = [
    "GRANULARITIES",
    "cut_picture",
    "cut_strip",
    "distinct_cuts",
    "drawn_size",
    "fitted_size",
    "hierarchy_colors",
    "hierarchy_picture",
    "nodes_of_leaves",
    "overlay",
    "photo_pixels",
    "region_count",
    "save_pictures",
]

GRANULARITIES = (2, 4, 8, 16, 32, 64)
"""Numbers of regions that pictures and stacks show unless others are asked for."""
_STRETCH = 12  # a picture's longer side is at most so many times its shorter
_PAPER = (255, 255, 255)
_INK = (32, 34, 38)

Rgb = NDArray[np.uint8]


def hierarchy_colors(tree: RegionTree) -> Rgb:
    """A colour for each node, (N, 3) uint8: near colours are near in the tree."""
    n = tree.n_nodes
    start, width = np.zeros(n), np.zeros(n)
    light = np.zeros(n)
    start[tree.root], width[tree.root], light[tree.root] = 20.0, 360.0, 0.74
    for node in range(tree.root, -1, -1):
        children = tree.children(node)
        if not children:
            continue
        share = np.sqrt(tree.area[children].astype(float))
        share /= share.sum()
        # Seams keep neighbours under different parents further apart than siblings.
        seam = (0.3 if node == tree.root else 0.2) * width[node] / len(children)
        free = width[node] - seam * len(children)
        at = start[node]
        step = 0.075 * 0.8 ** tree.level[node]
        for k, child in enumerate(children):
            start[child], width[child] = at, free * share[k]
            at += width[child] + seam
            light[child] = np.clip(light[node] + (step if k % 2 == 0 else -step), 0.52, 0.88)
    hue = np.deg2rad(start + width / 2)
    chroma = np.where(np.arange(n) == tree.root, 0.0, 0.135)
    return _oklch_to_srgb(light, chroma, hue)


def cut_picture(
    tree: RegionTree, image: Any = None, *, n_regions: int, width: int = 640
) -> Image.Image:
    """A cut in hierarchy colours over the photograph, with region borders.

    Parameters
    ----------
    image
        Path, Pillow image or array of the photograph; None draws plain colours.
    n_regions
        See :meth:`RegionTree.cut`.
    width
        Longer side of the picture in pixels.
    """
    size = fitted_size(tree.shape, width)
    nodes = nodes_of_leaves(tree, tree.cut_nodes(n_regions=n_regions))[nearest(tree.labels, size)]
    return overlay(hierarchy_colors(tree)[nodes], nodes, photo_pixels(image, size))


def cut_strip(
    tree: RegionTree,
    image: Any = None,
    *,
    granularities: Sequence[int] = GRANULARITIES,
    width: int = 360,
) -> Image.Image:
    """A row of cuts from coarse to fine, the photograph first; repeated cuts are shown once.

    `width` is the longer side of one panel.
    """
    size = fitted_size(tree.shape, width)
    panels = (
        [(Image.fromarray(photo_pixels(image, size)), "photograph")] if image is not None else []
    )
    for count in distinct_cuts(tree, granularities):
        found = len(tree.cut_nodes(n_regions=count))
        panels.append((cut_picture(tree, image, n_regions=count, width=width), region_count(found)))
    return _in_a_row(panels)


def hierarchy_picture(
    tree: RegionTree,
    image: Any = None,
    *,
    truth: NDArray[np.int32] | None = None,
    n_regions: int = 100,
    width: int = 640,
) -> Image.Image:
    """Photograph, regions in hierarchy colours, and the tree as an icicle beside them.

    Of a tree with more leaves, the cut into `n_regions` is shown and what lies above it.

    Borders in the middle panel are the stronger, the higher in the tree the two sides part. In the
    icicle the root is at the left, a node's children stand to its right, and a node is as tall
    as its area. `truth`, a mask (H, W) of ids, is drawn last.
    """
    whole = tree
    tree = tree if tree.n_leaves <= n_regions else tree.prune(n_regions=n_regions)
    size = fitted_size(tree.shape, width)
    labels = nearest(tree.labels, size)
    colors = hierarchy_colors(tree)
    photo = photo_pixels(image, size)
    leaves = overlay(colors[labels], labels, photo, tint=0.72, strength=_border_strength(tree))
    shown = f"{region_count(tree.n_leaves)}, {tree.n_nodes} nodes"
    if tree is not whole:
        shown = f"{tree.n_leaves} of {region_count(whole.n_leaves)}"
    panels = [(Image.fromarray(photo), "photograph")] if image is not None else []
    panels += [
        (leaves, shown),
        (_icicle(tree, colors, size), f"tree, depth {tree.depth}"),
    ]
    if truth is not None:
        panels.append((_annotation(nearest(truth, size), photo), "annotation"))
    return _in_a_row(panels)


def save_pictures(
    tree: RegionTree,
    image: Any,
    stem: Path,
    *,
    granularities: Sequence[int] = GRANULARITIES,
) -> list[Path]:
    """Write the hierarchy, the row of cuts and each cut as PNG files named after `stem`.

    ``photo`` gives photo.hierarchy.png, photo.cuts.png, and for each cut, named by its number of
    regions, photo.cut-004.png and so on.
    """
    pictures = {
        "hierarchy": hierarchy_picture(tree, image),
        "cuts": cut_strip(tree, image, granularities=granularities),
    }
    for count in distinct_cuts(tree, granularities):
        found = len(tree.cut_nodes(n_regions=count))
        pictures[f"cut-{found:03}"] = cut_picture(tree, image, n_regions=count, width=1024)
    written = []
    for name, picture in pictures.items():
        path = stem.with_name(f"{stem.name}.{name}.png")
        with atomic_write(path) as file:
            picture.save(file, format="PNG")
        written.append(path)
    return written


# -- shared with figures and pages ----------------------------------------------------------------


def drawn_size(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """(h, w) to draw an image of (H, W) at: `longest` pixels long, and never a hairline."""
    height, width = fitted_size(shape, longest)
    least = longest // _STRETCH
    return max(height, least), max(width, least)


def nodes_of_leaves(tree: RegionTree, nodes: NDArray[np.int64]) -> NDArray[np.int32]:
    """The one of `nodes` that each leaf lies in, (L,) int32; -1 where none.

    Indexed with leaf labels at any resolution it draws a cut, without cutting every pixel first.
    """
    found: NDArray[np.int32] = np.full(tree.n_nodes, -1, np.int32)
    found[nodes] = nodes
    for i in range(tree.n_nodes - 2, -1, -1):
        if found[i] < 0:
            found[i] = found[tree.parents[i]]
    return found[: tree.n_leaves]


def distinct_cuts(tree: RegionTree, granularities: Sequence[int]) -> list[int]:
    """The counts whose cut differs from the one before."""
    kept: dict[int, int] = {}
    for count in sorted(granularities):
        kept.setdefault(len(tree.cut_nodes(n_regions=count)), count)
    kept.pop(1, None) if len(kept) > 1 else None
    return sorted(kept.values())


def region_count(count: int) -> str:
    """A number of regions in words: ``1 region``, ``12 regions``."""
    return "1 region" if count == 1 else f"{count} regions"


def fitted_size(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """(height, width) of the same proportions whose longer side is `longest` pixels."""
    scale = longest / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def photo_pixels(image: Any, size: tuple[int, int]) -> Rgb:
    """The photograph as (height, width, 3) uint8 of that size; white if it is None."""
    if image is None:
        return np.full((*size, 3), 255, np.uint8)
    rgb = load_image(image, cover=size).rgb
    pixels = Image.fromarray(rgb).resize(size[::-1], Image.Resampling.LANCZOS)
    return np.asarray(pixels)


def overlay(
    colors: Rgb,
    labels: NDArray[np.int32],
    photo: Rgb,
    *,
    tint: float = 0.55,
    strength: NDArray[np.float64] | None = None,
) -> Image.Image:
    """Colours over a greyed photograph, borders drawn in white.

    `strength` (L, L): opacity of the border between two labels; all opaque if None.
    """
    grey = photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    under = np.float32(0.35) * photo + 0.65 * grey[:, :, None]
    # The photograph's light and dark modulate the tint, so that its texture stays readable.
    shade = 0.55 + 0.45 * (grey / 255.0)[:, :, None]
    mixed = (1 - tint) * under + np.float32(tint) * colors * shade
    border = np.zeros(labels.shape, np.float32)
    for axis in (0, 1):
        first = labels[:-1] if axis == 0 else labels[:, :-1]
        second = labels[1:] if axis == 0 else labels[:, 1:]
        edge = (first != second).astype(np.float32)
        if strength is not None:
            edge *= strength[first, second]
        for side in (slice(None, -1), slice(1, None)):  # both pixels of the edge: 2 wide
            at = (side, slice(None)) if axis == 0 else (slice(None), side)
            border[at] = np.maximum(border[at], edge)
    mixed += border[:, :, None] * (255.0 - mixed)
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


# -- pieces ---------------------------------------------------------------------------------------


def _annotation(truth: NDArray[np.int32], photo: Rgb) -> Image.Image:
    """Ids in colours; an id has the same colour in every picture, near ids have far ones."""
    ids, index = np.unique(truth, return_inverse=True)
    # Two ratios that are not of small numbers: ids near in hue are apart in lightness.
    turns = (np.mod(ids, 4096) * 0.618034) % 1.0
    light = 0.48 + 0.42 * ((np.mod(ids, 4096) * 0.754878) % 1.0)
    colors = _oklch_to_srgb(light, np.full(len(ids), 0.13), 2 * np.pi * turns)
    return overlay(colors[index.reshape(truth.shape)], truth, photo, tint=0.72)


def _border_strength(tree: RegionTree) -> NDArray[np.float64]:
    """Opacity (L, L) of the border between leaves: by the height of the lowest node above both."""
    size = tree.n_leaves
    strength = np.ones((size, size))
    below: list[NDArray[np.int64]] = [np.array([i]) for i in range(size)]
    for node in range(size, tree.n_nodes):
        children = tree.children(node)
        # Square root of height is a distance in feature space; faint borders stay visible.
        value = 0.25 + 0.75 * min(1.0, float(tree.height[node]) ** 0.5)
        groups = [below[c] for c in children]
        joined = np.concatenate(groups)
        for group in groups:
            strength[np.ix_(group, np.setdiff1d(joined, group))] = value
        below.append(joined)
    return strength


def _icicle(tree: RegionTree, colors: Rgb, size: tuple[int, int]) -> Image.Image:
    height, width = size[0], max(200, int(0.8 * size[0]))
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    column = width / (tree.depth + 1)
    total = float(tree.area[tree.root])
    stack = [(tree.root, 0.0)]
    while stack:
        node, top = stack.pop()
        tall = tree.area[node] / total * height
        left = tree.level[node] * column
        right = left + column - 1 if tree.stop[node] == StopReason.INNER else width - 1
        bottom = top + tall - 1
        if bottom - top >= 0.5:
            fill = tuple(int(v) for v in colors[node])
            outline = _PAPER if tall > 3 else None
            draw.rectangle((left, top, right, bottom), fill=fill, outline=outline)
        at = top
        for child in tree.children(node):
            stack.append((child, at))
            at += tree.area[child] / total * height
    return picture


def _in_a_row(panels: Sequence[tuple[Image.Image, str]]) -> Image.Image:
    """Titled panels side by side on white."""
    gap, title = 12, 26
    font = ImageFont.load_default(size=15)
    width = sum(panel.width + gap for panel, _ in panels) + gap
    height = max(panel.height for panel, _ in panels) + title + 2 * gap
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    x = gap
    for panel, text in panels:
        draw.text((x, gap), text, fill=_INK, font=font)
        sheet.paste(panel, (x, gap + title))
        x += panel.width + gap
    return sheet


def _oklch_to_srgb(
    light: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]
) -> Rgb:
    """OKLCH (lightness 0 to 1, chroma, hue in radians) to 8-bit sRGB, clipped."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    lms = np.stack(
        [
            light + 0.3963377774 * a + 0.2158037573 * b,
            light - 0.1055613458 * a - 0.0638541728 * b,
            light - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    mix = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(mix @ lms**3, 0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (srgb.T * 255 + 0.5).astype(np.uint8)
