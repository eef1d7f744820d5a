"""What ``regiontree like`` prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from regiontree.collection.collection import Collection
from regiontree.collection.examples import Example
from regiontree.errors import CollectionError
from regiontree.system.terminal import one_line

__all__ = ["point_of", "run"]


def run(
    folder: Path,
    photo: str,
    *,
    node: int | None,
    point: str | None,
    k: int,
    trees: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Print the regions most like an example, as a table or as JSON.

    Parameters
    ----------
    folder
        Folder of the collection.
    photo, node, k
        As for :meth:`~regiontree.collection.collection.Collection.search`.
    point
        Row and column as a text, ``Y,X``.
    trees
        Where the trees are now. None: where they were when the collection was made.
    device
        Where the network runs, if the photograph must be parsed.
    as_json

    Raises
    ------
    RegionTreeError
        Nothing can be found.
    """
    collection = Collection.load(folder, trees)
    pixel = None if point is None else point_of(point)
    found = collection.search(photo, node, point=pixel, k=k, device=device)
    if as_json:
        examples = [asdict(example) for example in found]
        print(json.dumps({"photo": photo, "examples": examples}, indent=1))
    else:
        print("\n\n".join(_table(example) for example in found))


def point_of(text: str) -> tuple[int, int]:
    """Row and column of a text ``Y,X``.

    Raises
    ------
    CollectionError
        The text has another form.

    Examples
    --------
    >>> point_of("120,80")
    (120, 80)
    """
    try:
        y, x = (int(number) for number in text.split(","))
    except ValueError:
        raise CollectionError(
            f"--point must be a row and a column, like 120,80, got {text!r}"
        ) from None
    return y, x


def _table(example: Example) -> str:
    """The regions that are like an example, one a line."""
    names = [one_line(region.photo) for region in example.like]
    width = max(map(len, [*names, "photograph"]))
    lines = [
        f"like node {example.node} ({example.share:.1%} of its photograph)",
        f"{'photograph':<{width}}  {'node':>6}  {'share':>6}  likeness",
    ]
    for name, region in zip(names, example.like, strict=True):
        share = f"{region.share:.1%}"
        lines.append(f"{name:<{width}}  {region.node:>6}  {share:>6}  {region.likeness:8.3f}")
    return "\n".join(lines)
