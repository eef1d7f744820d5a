"""What a Label Studio project's labelling interface says: the image, the brush and its labels.

The interface is XML (labelstud.io/tags). No name in it is fixed: the brush is the ``BrushLabels``
whose ``toName`` is an ``Image``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from regiontree.errors import DataError
from regiontree.export.labelstudio import LABELS

__all__ = ["Brush", "LabelInterface"]

_LONGEST = 1 << 20  # characters
_USUAL = "region"


@dataclass(frozen=True, slots=True)
class Brush:
    """A ``BrushLabels`` control of an image.

    Attributes
    ----------
    name : str
        ``from_name`` of its results.
    image : str
        ``to_name`` of its results.
    value : str
        The key of a task's data under which the photograph's address is.
    labels : tuple of str
    """

    name: str
    image: str
    value: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelInterface:
    """The brushes of a labelling interface, at least one.

    Examples
    --------
    >>> brush = LabelInterface.read(LABELS).brush()
    >>> brush.name, brush.image, brush.value, brush.labels
    ('regions', 'image', 'image', ('region',))
    """

    brushes: tuple[Brush, ...]

    @classmethod
    def read(cls, text: object) -> LabelInterface:
        """The brushes of an interface.

        Raises
        ------
        DataError
            It is not XML, declares entities, is too long, or has no brush for one image.
        """
        root = _parsed(text)
        images = {
            name: value.removeprefix("$")
            for element in _of_kind(root, "image")
            if (name := element.get("name")) and (value := element.get("value"))
        }
        brushes = tuple(
            Brush(element.get("name", ""), to, images[to], tuple(_labels(element)))
            for element in _of_kind(root, "brushlabels")
            if (to := element.get("toName", element.get("toname", ""))) in images
        )
        if not brushes:
            raise DataError(
                "the labelling interface has no BrushLabels for an Image with a value; add them, "
                f"for example: {LABELS}"
            )
        return cls(brushes)

    def brush(self, label: str | None = None) -> Brush:
        """The first brush that has a label; without one, the first brush."""
        return next((one for one in self.brushes if label in one.labels), self.brushes[0])

    def label(self, brush: Brush, wanted: str | None = None) -> str:
        """The label for a region whose kind nobody knows.

        It is the wanted one, else "region", else the brush's first.

        Raises
        ------
        DataError
            The brush lacks the wanted label, or has no labels.
        """
        if wanted is not None:
            if brush.labels and wanted not in brush.labels:
                raise DataError(
                    f"the labelling interface has no label {wanted!r}: its brush {brush.name!r} "
                    f"has {', '.join(brush.labels)}"
                )
            return wanted
        if not brush.labels:
            raise DataError(
                f"the brush {brush.name!r} of the labelling interface has no labels; add a Label, "
                "or name one with --label"
            )
        return _USUAL if _USUAL in brush.labels else brush.labels[0]


def _parsed(text: object) -> ElementTree.Element:
    if not isinstance(text, str) or not text.strip():
        raise DataError("the request has no labelling interface; is the project set up?")
    if len(text) > _LONGEST:
        raise DataError(f"the labelling interface has more than {_LONGEST:,} characters")
    if re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise DataError("the labelling interface declares a document type, which is refused")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"the labelling interface is not XML: {error}") from None


def _of_kind(root: ElementTree.Element, kind: str) -> Iterator[ElementTree.Element]:
    return (one for one in root.iter() if isinstance(one.tag, str) and one.tag.lower() == kind)


def _labels(element: ElementTree.Element) -> Iterator[str]:
    for label in _of_kind(element, "label"):
        name = label.get("alias") or label.get("value")
        if name:
            yield name
