"""What the directories of a TIFF hold: pages, reduced copies, masks, and planes of a microscope.

A TIFF is a chain of directories. This module walks the chain without a decoder, so a damaged or
hostile chain costs little, and says which directories belong together. Source: TIFF 6.0, and the
OME-TIFF and ImageJ conventions for planes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from regiontree.errors import ImageError

__all__ = ["Directory", "Layout", "axes_of", "ends_early", "layout_of"]

# A stack of more pages is refused: the file would be read for minutes to list them.
_MOST_DIRECTORIES = 100_000
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_SUBFILE, _WIDTH, _LENGTH, _TILE_WIDTH, _SUBIFDS = 254, 256, 257, 322, 330
_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # bytes of the types of whole numbers
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


@dataclass(frozen=True, slots=True)
class Directory:
    """One image in the file.

    Attributes
    ----------
    offset : int
        Where the directory lies in the file.
    size : tuple of int
        (H, W) in pixels, as stored.
    subfile : int
        NewSubfileType: bit 0 for a reduced copy, bit 2 for a mask.
    is_tiled : bool
    children : tuple of int
        Offsets of the directories below it (SubIFDs).
    """

    offset: int
    size: tuple[int, int]
    subfile: int
    is_tiled: bool
    children: tuple[int, ...] = ()


@dataclass(slots=True)
class Page:
    """A page with the directories that belong to it.

    Attributes
    ----------
    planes : list of Directory
        One for each channel; a photograph has one plane.
    reduced : list of Directory
        Smaller copies of the only plane.
    masks : list of Directory
        Which pixels of the page or of a smaller copy hold data.
    """

    planes: list[Directory]
    reduced: list[Directory] = field(default_factory=list)
    masks: list[Directory] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Layout:
    """The pages of a file, at least one."""

    pages: list[Page]


def layout_of(data: bytes, name: str, description: str) -> Layout:
    """The pages of a TIFF.

    Parameters
    ----------
    data
        The file.
    name
        For messages.
    description
        ImageDescription of the first directory. OME, ImageJ and Aperio say there how directories
        belong together.

    Raises
    ------
    ImageError
        The file has no image, or too many.
    """
    found = list(_chain(data, name))
    if not found:
        raise ImageError(f"{name}: is damaged or cut short (no image in this TIFF)")
    if description.startswith("Aperio"):
        return Layout([_slide(data, found)])
    pages: list[Page] = []
    for directory in found:
        if pages and directory.subfile & _MASK:
            pages[-1].masks.append(directory)
        elif pages and directory.subfile & _REDUCED:
            pages[-1].reduced.append(directory)
        else:
            pages.append(Page([directory]))
    planes = _planes(description)
    if planes is not None and max(map(max, planes)) < len(pages):
        pages = [Page([pages[i].planes[0] for i in row]) for row in planes]
    for page in pages:
        below = (d for start in page.planes[0].children if (d := _directory(data, start)[0]))
        if len(page.planes) == 1:
            page.reduced += [d for d in below if d.subfile & _REDUCED and not d.subfile & _MASK]
    return Layout(pages)


def _slide(data: bytes, found: list[Directory]) -> Page:
    """The page of a tissue slide: its levels are tiled, the label and the overview are not."""
    base, *others = found
    ratio = base.size[1] / base.size[0]
    levels = [
        d for d in others
        if d.is_tiled and abs(d.size[1] / d.size[0] / ratio - 1) < 0.02 and d.size < base.size
    ]  # fmt: skip
    return Page([base], levels)


def _chain(data: bytes, name: str) -> Iterator[Directory]:
    """The directories in their order; those without pixels are left out."""
    order, big = _header(data)
    offset = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    seen: set[int] = set()
    while offset and offset not in seen:
        if len(seen) >= _MOST_DIRECTORIES:
            raise ImageError(
                f"{name}: has more than {_MOST_DIRECTORIES} pages; split it into smaller files"
            )
        seen.add(offset)
        directory, offset = _directory(data, offset)
        if directory is not None:
            yield directory


def ends_early(data: bytes) -> bool:
    """Whether the list of directories leads beyond the end of the file, so that it was cut off."""
    order, big = _header(data)
    head, step, inline = (8, 20, 8) if big else (2, 12, 4)
    offset = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(offset)
        if offset + head > len(data):
            return True
        entries = struct.unpack_from(order + ("Q" if big else "H"), data, offset)[0]
        if offset + head + entries * step + inline > len(data):
            return True
        offset = _directory(data, offset)[1]
    return False


def _header(data: bytes) -> tuple[str, bool]:
    """The byte order for struct, and whether the file is a BigTIFF."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 16:
        return order, False
    return order, struct.unpack_from(order + "H", data, 2)[0] == 43


def _directory(data: bytes, offset: int) -> tuple[Directory | None, int]:
    """The directory at an offset, or None if it has no pixels, and the offset of the next one."""
    order, big = _header(data)
    counts, step, word = ("Q", 20, "Q") if big else ("H", 12, "I")
    head, inline = struct.calcsize(order + counts), struct.calcsize(order + word)
    if offset + head > len(data):
        return None, 0
    entries = struct.unpack_from(order + counts, data, offset)[0]
    end = offset + head + entries * step
    if end > len(data):
        return None, 0
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(offset + head, end, step):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag not in (_SUBFILE, _WIDTH, _LENGTH, _TILE_WIDTH, _SUBIFDS) or kind not in _SIZES:
            continue
        if tag in tags:  # the first counts, as for tifffile
            continue
        count = struct.unpack_from(order + word, data, at + 4)[0]
        wide, place = _SIZES[kind], at + 4 + inline
        if count * wide > inline:
            place = struct.unpack_from(order + word, data, place)[0]
        if count <= 64 and place + count * wide <= len(data):
            tags[tag] = struct.unpack_from(f"{order}{count}{_CODES[wide]}", data, place)
    following = 0
    if end + inline <= len(data):
        following = struct.unpack_from(order + word, data, end)[0]
    width, height = (tags.get(tag, (0,))[:1] or (0,) for tag in (_WIDTH, _LENGTH))
    if not width[0] or not height[0]:
        return None, following
    subfile = (tags.get(_SUBFILE) or (0,))[0]
    size = (int(height[0]), int(width[0]))
    return Directory(
        offset, size, int(subfile), _TILE_WIDTH in tags, tags.get(_SUBIFDS, ())
    ), following


# -- planes of microscopes ------------------------------------------------------------------------


def _planes(description: str) -> list[list[int]] | None:
    """For each page the places of its channels in the chain; None if there are no channels."""
    if "<OME" in description[:4000] and (pixels := re.search(r"<Pixels\b[^>]*>", description)):
        return _of_ome(description, dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', pixels[0])))
    if description.startswith("ImageJ="):
        said = dict(re.findall(r"^(\w+)=(\d+)\s*$", description, re.MULTILINE))
        channels, slices, frames = (int(said.get(k, 1)) for k in ("channels", "slices", "frames"))
        return _in_order({"C": channels, "Z": slices, "T": frames}, "CZT")
    return None


def axes_of(description: str) -> str:
    """Which axes the pages of a microscope's stack run along, the fastest first: "ZT" for example.

    Channels are no pages. Axes with one step are left out. Empty if the file does not say.

    Parameters
    ----------
    description
        As for :func:`layout_of`.

    Examples
    --------
    >>> axes_of("ImageJ=1.53\\nimages=30\\nchannels=2\\nslices=3\\nframes=5")
    'ZT'
    """
    if "<OME" in description[:4000] and (pixels := re.search(r"<Pixels\b[^>]*>", description)):
        said = dict(re.findall(r'Size(\w)\s*=\s*"(\d+)"', pixels[0]))
        order = re.search(r'DimensionOrder\s*=\s*"(\w+)"', pixels[0])
        # Planes with channels are put in the order Z, T: see _in_order.
        axes = "ZT"
        if order is not None and int(said.get("C", 1)) == 1:
            axes = "".join(axis for axis in order[1] if axis in "ZT")
        return "".join(axis for axis in axes if int(said.get(axis, 1)) > 1)
    if description.startswith("ImageJ="):
        found = dict(re.findall(r"^(\w+)=(\d+)\s*$", description, re.MULTILINE))
        steps = {"Z": int(found.get("slices", 1)), "T": int(found.get("frames", 1))}
        return "".join(axis for axis, count in steps.items() if count > 1)
    return ""


def _of_ome(description: str, pixels: dict[str, str]) -> list[list[int]] | None:
    """As :func:`_planes`, of the first image of an OME-TIFF in one file."""
    try:
        sizes = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "CZT"}
    except ValueError:
        return None
    first = description.split("</Pixels>", 1)[0]
    if len(set(re.findall(r'FileName\s*=\s*"([^"]*)"', first))) > 1:
        return None  # its planes lie in several files
    samples = re.findall(r'SamplesPerPixel\s*=\s*"(\d+)"', first)
    if samples and int(samples[0]) > 1:
        sizes["C"] = max(1, sizes["C"] // int(samples[0]))
    planes = _in_order(sizes, pixels.get("DimensionOrder", "XYCZT").replace("XY", "", 1))
    if planes is None:
        return None
    for element in re.findall(r"<TiffData\b[^>]*>", first):
        at = dict(re.findall(r'(\w+)\s*=\s*"(\d+)"', element))
        if "IFD" not in at or at.get("PlaneCount", "1") != "1":
            continue
        c, z, t = (int(at.get(f"First{axis}", 0)) for axis in "CZT")
        if c < sizes["C"] and z < sizes["Z"] and t < sizes["T"]:
            planes[z + sizes["Z"] * t][c] = int(at["IFD"])
    return planes


def _in_order(sizes: dict[str, int], order: str) -> list[list[int]] | None:
    """The places of planes that are stored with the axes of `order`, the fastest first."""
    total = sizes["C"] * sizes["Z"] * sizes["T"]
    if sizes["C"] < 2 or not 1 < total <= _MOST_DIRECTORIES or sorted(order) != ["C", "T", "Z"]:
        return None
    step, steps = 1, {}
    for axis in order:
        steps[axis] = step
        step *= sizes[axis]
    return [
        [c * steps["C"] + z * steps["Z"] + t * steps["T"] for c in range(sizes["C"])]
        for t in range(sizes["T"])
        for z in range(sizes["Z"])
    ]
