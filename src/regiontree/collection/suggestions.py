"""Suggestions for names, by a network that compares pictures with texts. Nobody's name is changed.

The most typical regions of each category of a cut are cut out of their photographs, with a margin.
The category gets the label whose text is nearest to the mean of their embeddings. The confidence is
the softmax over all labels, with the network's own scale. It compares the labels with each other,
so one of them is always suggested, even if none fits.

Suggestions are written to a table of their own, ``collection-suggestions.csv``. People take over
into ``collection.csv`` what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import normalize

from regiontree.backbones.textimage import TextImageModel
from regiontree.collection.pictures import upright_picture
from regiontree.collection.suggestiontable import Suggestion
from regiontree.errors import CollectionError, check_number
from regiontree.forest.finding import Places
from regiontree.system.faults import attempt, fault_text
from regiontree.system.paths import reason

if TYPE_CHECKING:
    from regiontree.collection.collection import Collection, Region

__all__ = ["Suggested", "read_labels", "suggest"]

_MARGIN = 0.1  # of the longer side of a region's box, on each side
_MOST_BYTES = 64 << 20


@dataclass(slots=True)
class Suggested:
    """What was suggested.

    Attributes
    ----------
    suggestions : list of Suggestion
        In the order of the cut. A category none of whose photographs could be read has none.
    failed : dict of str to str
        Ids of photographs that could not be read, and why.
    """

    suggestions: list[Suggestion] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def suggest(
    collection: Collection,
    labels: Sequence[str],
    model: TextImageModel,
    *,
    n_categories: int = 27,
    crops: int = 8,
    prompt: str = "a photo of {}",
    images: Sequence[str | Path] = (),
    advance: Callable[[str, str | None], None] = lambda photo, said: None,
) -> Suggested:
    """The label that fits each category of a cut best. One photograph is in memory at a time.

    Parameters
    ----------
    collection
    labels
        What may be suggested.
    model
    n_categories
        Into how many categories the collection is cut, at most.
    crops
        Regions of each category that are looked at, the most typical.
    prompt
        The text of a label, with {} in its place.
    images
        Photographs, or folders to search first.
    advance
        Called after each photograph with its id, and why it could not be read or None.

    Raises
    ------
    CollectionError
        There are no labels, the prompt has no place for one, or no photograph can be read.
    SettingsError
        `crops` or `n_categories` is below 1.
    """
    if not labels:
        raise CollectionError("there are no labels; give a file with one on each line")
    if "{}" not in prompt:
        raise CollectionError(f"the prompt must contain {{}} for the label, got {prompt!r}")
    count = check_number("crops", crops, 1, float("inf"), whole=True)
    categories = collection.categories(n_categories)
    wanted: dict[str, list[tuple[int, Region]]] = {}
    for one in categories:
        for region in collection.regions(one)[:count]:
            wanted.setdefault(region.photo, []).append((one.index, region))
    result, places = Suggested(), Places.of(images)
    texts = model.of_texts([prompt.replace("{}", label) for label in labels])
    total = torch.zeros(len(categories), texts.shape[1])
    for photo, regions in wanted.items():

        def work(photo: str = photo, regions: list[tuple[int, Region]] = regions) -> torch.Tensor:
            return model.of_pictures(_crops(collection, photo, regions, places))

        rows = attempt(work)
        said = None
        if isinstance(rows, Exception):
            said = result.failed[photo] = fault_text(rows, photo)
        else:
            total.index_add_(0, torch.tensor([index for index, _ in regions]), rows)
        advance(photo, said)
    if len(result.failed) == len(wanted):
        raise CollectionError(
            f"no photograph can be read: {next(iter(result.failed.values()), '')}"
        )
    seen = torch.linalg.vector_norm(total, dim=1) > 0
    chances = torch.softmax(model.scale * normalize(total, dim=1) @ texts.T, dim=1)
    best = chances.max(dim=1)
    for one in categories:
        if seen[one.index]:
            label, chance = int(best.indices[one.index]), float(best.values[one.index])
            result.suggestions.append(Suggestion(one.node, labels[label], chance))
    return result


def _crops(
    collection: Collection, photo: str, regions: list[tuple[int, Region]], places: Places
) -> list[Image.Image]:
    """Regions of a photograph, cut out with a margin."""
    row = collection.forest.row(photo)
    if row.tree is None:
        raise CollectionError(f"{photo}: its tree is gone ({row.error})")
    picture = upright_picture(row, row.tree, collection.forest.address, places)
    return [picture.crop(_box(row.tree.mask(region.node))) for _, region in regions]


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a region with its margin, inside the photograph.

    Examples
    --------
    >>> mask = np.zeros((40, 60), bool)
    >>> mask[10:30, 0:20] = True
    >>> _box(mask)
    (0, 8, 22, 32)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    margin = round(_MARGIN * max(bottom - top, right - left))
    height, width = mask.shape
    return (
        max(left - margin, 0), max(top - margin, 0),
        min(right + margin, width), min(bottom + margin, height),
    )  # fmt: skip


def read_labels(path: str | Path) -> list[str]:
    """The labels in a text file in UTF-8, one on each line. Empty lines and repetitions count not.

    Raises
    ------
    CollectionError
        The file cannot be read, or holds no label.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise CollectionError(f"{path}: cannot be read ({reason(error)})") from error
    except UnicodeDecodeError as error:
        raise CollectionError(f"{path}: is not UTF-8; save it as UTF-8") from error
    found = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not found:
        raise CollectionError(f"{path}: holds no labels; write one on each line")
    return found
