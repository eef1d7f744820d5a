"""Pictures of a tree over its photograph: the hierarchy, and cuts from coarse to fine.

Colours show where a region is in the tree. The root owns the whole colour circle. Every node owns
an arc of it, which its children divide among them. A node's hue is the middle of its arc. So nodes
with near colours are near in the tree, a region keeps its family of hues when it is divided, and it
has the same colour in every picture. Siblings also differ in lightness, because their arcs can be
narrow. Pixels without data are dark grey and own no hue. Colours are spaced in OKLCH, where equal
steps look equal (Ottosson, 2020).
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from regiontree.errors import check_numbers
from regiontree.images import load_again, nearest
from regiontree.system.files import atomic_write
from regiontree.system.paths import fitted_name
from regiontree.tree import RegionTree, kernel
from regiontree.tree.cuts import node_of_leaf
from regiontree.tree.nodata import no_data_nodes, not_regions
from regiontree.tree.nodes import TreeNodes
from regiontree.tree.paths import lowest_common_ancestor
from regiontree.tree.stop import StopReason
from regiontree.tree.text import counted

__all__ = [
    "GRANULARITIES",
    "annotation_picture",
    "cut_picture",
    "cut_strip",
    "distinct_cuts",
    "drawn_size",
    "fitted_size",
    "hierarchy_colors",
    "hierarchy_picture",
    "jpeg",
    "nodes_of_leaves",
    "overlay",
    "photo_pixels",
    "picture_names",
    "picture_path",
    "region_count",
    "save_pictures",
]

GRANULARITIES = (2, 4, 8, 16, 32, 64)
"""Numbers of regions that pictures and stacks show unless others are asked for."""
_STRETCH = 12  # the longer side of a picture is at most this times the shorter
_PAPER = (255, 255, 255)
_INK = (32, 34, 38)

Rgb = NDArray[np.uint8]


def hierarchy_colors(tree: TreeNodes) -> Rgb:
    """A colour for each node, (N, 3) uint8: near colours are near in the tree."""
    n = tree.n_nodes
    absent, apart = no_data_nodes(tree.stop), not_regions(tree.parents, tree.stop)
    scene = apart & ~absent  # beside what is not there: it owns the whole circle, as the root does
    level = np.maximum(tree.level - int(scene.any()), 0)
    first, children = kernel.children(tree.parents, tree.area)
    parent, ways = tree.parents[children], np.diff(first)
    number = np.arange(n - 1) - first[parent]  # among its siblings
    # What each child gets of its parent's arc, by the square root of its area, and where. Seams
    # keep neighbours under different parents further apart than siblings.
    seams = np.where((parent == tree.root) | scene[parent], 0.3, 0.2)
    root_area = np.sqrt(tree.area[children].astype(float))
    root_area[absent[children]] = 0.0
    before = np.cumsum(root_area) - root_area
    before -= before[first[parent]]
    total = np.maximum(np.bincount(parent, root_area, minlength=n)[parent], 1e-12)
    share = (1 - seams) * root_area / total
    offset = (1 - seams) * before / total + seams * number / ways[parent]
    step = np.where(number % 2 == 0, 0.075, -0.075) * 0.8 ** level[parent]

    start, width, light = np.full(n, 20.0), np.full(n, 360.0), np.full(n, 0.74)
    by_level = np.argsort(tree.level[children], kind="stable")
    for own in np.split(by_level, np.cumsum(np.bincount(tree.level)[1:])[:-1]):
        child, above = children[own], parent[own]
        start[child] = start[above] + width[above] * offset[own]
        width[child] = width[above] * share[own]
        light[child] = np.clip(light[above] + step[own], 0.52, 0.88)
        start[scene], width[scene], light[scene] = 20.0, 360.0, 0.74
    light[absent] = 0.38
    hue = np.deg2rad(start + width / 2)
    chroma = np.where((np.arange(n) == tree.root) | apart, 0.0, 0.135)
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
    return overlay(hierarchy_colors(tree)[nodes], nodes, photo_pixels(image, size, tree))


def cut_strip(
    tree: RegionTree,
    image: Any = None,
    *,
    granularities: Sequence[int] = GRANULARITIES,
    width: int = 360,
) -> Image.Image:
    """A row of cuts from coarse to fine, after the photograph. Equal cuts are shown once.

    `width` is the longer side of one panel in pixels.
    """
    size = fitted_size(tree.shape, width)
    panels = (
        [(Image.fromarray(photo_pixels(image, size, tree)), "photograph")]
        if image is not None
        else []
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

    A tree with more leaves is shown down to its cut into `n_regions`.

    In the middle panel, a border is stronger if its two sides part higher in the tree. In the
    icicle the root is at the left, the children of a node are to its right, and the height of a
    node is its area. `truth`, a mask (H, W) of ids, is drawn last.
    """
    whole = tree
    tree = tree if tree.n_leaves <= n_regions else tree.prune(n_regions=n_regions)
    size = fitted_size(tree.shape, width)
    labels = nearest(tree.labels, size)
    colors = hierarchy_colors(tree)
    photo = photo_pixels(image, size, tree)
    leaves = overlay(colors[labels], labels, photo, tint=0.72, strength=_border_strength(tree))
    shown = f"{region_count(tree.n_leaves)}, {counted(tree.n_nodes, 'node')}"
    if tree is not whole:
        shown = f"{tree.n_leaves} of {region_count(whole.n_leaves)}"
    panels = [(Image.fromarray(photo), "photograph")] if image is not None else []
    panels += [
        (leaves, shown),
        (_icicle(tree, colors, size), f"tree, depth {tree.depth}"),
    ]
    if truth is not None:
        panels.append((annotation_picture(nearest(truth, size), photo), "annotation"))
    return _in_a_row(panels)


def picture_names(
    tree: RegionTree, granularities: Sequence[int] = GRANULARITIES
) -> dict[str, int | None]:
    """The pictures of a tree by name, ``cut-004`` for example, with the regions asked for.

    The pixels of the tree are not used, so :meth:`RegionTree.load_structure` is enough.
    """
    names: dict[str, int | None] = {"hierarchy": None, "cuts": None}
    for count in distinct_cuts(tree, granularities):
        names[f"cut-{len(tree.cut_nodes(n_regions=count)):03}"] = count
    return names


def picture_path(stem: Path, name: str) -> Path:
    """The file of a picture: ``photo.hierarchy.png``. A stem that is too long is cut."""
    return stem.with_name(fitted_name(stem.name, f".{name}.png"))


def save_pictures(
    tree: RegionTree,
    image: Any,
    stem: str | Path,
    *,
    granularities: Sequence[int] = GRANULARITIES,
    only: Collection[str] | None = None,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
    """Write the hierarchy, the row of cuts and each cut as PNG files named after `stem`.

    ``photo`` gives photo.hierarchy.png, photo.cuts.png, and for each cut, named by its number of
    regions, photo.cut-004.png and so on.

    Parameters
    ----------
    only
        The :func:`picture_names` to draw. None: all.
    texts
        Texts to put into each PNG, by their keys.
    """
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    written = []
    for name, count in picture_names(tree, granularities).items():
        if only is not None and name not in only:
            continue
        if count is not None:
            picture = cut_picture(tree, image, n_regions=count, width=1024)
        elif name == "cuts":
            picture = cut_strip(tree, image, granularities=granularities)
        else:
            picture = hierarchy_picture(tree, image)
        path = picture_path(Path(stem), name)
        with atomic_write(path) as file:
            picture.save(file, format="PNG", pnginfo=info)
        written.append(path)
    return written


# -- shared with figures and pages ----------------------------------------------------------------


def drawn_size(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """(h, w) at which to draw an image of (H, W): `longest` pixels long, and never too thin."""
    height, width = fitted_size(shape, longest)
    least = longest // _STRETCH
    return max(height, least), max(width, least)


def nodes_of_leaves(tree: RegionTree, nodes: NDArray[np.int64]) -> NDArray[np.int32]:
    """The one of `nodes` that holds each leaf, (L,) int32; -1 if none does.

    Indexed with leaf labels of any resolution, the result draws a cut.
    """
    region = node_of_leaf(tree.parents, nodes, tree.n_leaves)
    return np.where(region < 0, -1, nodes[region]).astype(np.int32)


def distinct_cuts(tree: RegionTree, granularities: Sequence[int]) -> list[int]:
    """The granularities, ascending, without those that give the same cut as one before.

    Raises
    ------
    SettingsError
        `granularities` are not whole numbers of at least 1.
    """
    kept: dict[int, int] = {}
    for count in sorted(check_numbers("granularities", granularities, 1, 2**63, whole=True)):
        kept.setdefault(len(tree.cut_nodes(n_regions=count)), count)
    kept.pop(1, None) if len(kept) > 1 else None
    return sorted(kept.values())


def region_count(count: int) -> str:
    """A number of regions in words: ``1 region``, ``12 regions``."""
    return counted(count, "region")


def fitted_size(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """(height, width) of the same proportions whose longer side is `longest` pixels."""
    scale = longest / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def jpeg(picture: Image.Image | Rgb, quality: int) -> bytes:
    """A picture as the bytes of a JPEG file; `quality` is 1 to 95."""
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def photo_pixels(image: Any, size: tuple[int, int], tree: RegionTree) -> Rgb:
    """The photograph of a tree as (height, width, 3) uint8 of that size; white if it is None.

    The bands and the page are those that the tree was made from.
    """
    if image is None:
        return np.full((*size, 3), 255, np.uint8)
    rgb = load_again(image, tree.meta, shape=tree.shape, cover=size).rgb
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
    """Colours over a greyed photograph, with borders in white.

    `strength` (L, L) is the opacity of the border between two labels. None means opaque.
    """
    grey = photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    under = np.float32(0.35) * photo + 0.65 * grey[:, :, None]
    # The tint is darker where the photograph is, so that its texture can be seen.
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


def annotation_picture(truth: NDArray[np.int32], photo: Rgb) -> Image.Image:
    """The ids of an annotation in colours over the photograph, (H, W) pixels.

    `truth` is (H, W) int32, the ids. `photo` is (H, W, 3) uint8. An id has the same colour in every
    picture, and near ids have distant colours.
    """
    ids, index = np.unique(truth, return_inverse=True)
    # Neither ratio is near a simple fraction, so ids with near hues differ in lightness.
    turns = (np.mod(ids, 4096) * 0.618034) % 1.0
    light = 0.48 + 0.42 * ((np.mod(ids, 4096) * 0.754878) % 1.0)
    colors = _oklch_to_srgb(light, np.full(len(ids), 0.13), 2 * np.pi * turns)
    return overlay(colors[index.reshape(truth.shape)], truth, photo, tint=0.72)


def _border_strength(tree: RegionTree) -> NDArray[np.float64]:
    """Opacity (L, L) of the border between two leaves, from the height of their common ancestor."""
    one, other = np.indices((tree.n_leaves, tree.n_leaves)).reshape(2, -1)
    above = lowest_common_ancestor(tree.parents, one, other)
    # The square root of a height is a distance in feature space. Faint borders stay visible.
    strength = 0.25 + 0.75 * np.sqrt(np.minimum(tree.height[above].astype(np.float64), 1.0))
    strength[one == other] = 1.0
    return strength.reshape(tree.n_leaves, tree.n_leaves)


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
