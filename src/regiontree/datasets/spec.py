"""What a data set is: which files are its images, which its masks, and what the masks mean.

A :class:`DatasetSpec` describes one split. It is written as YAML or JSON, and three lines do for
a data set of one's own::

    images: photos
    masks: masks
    labels: labels.txt

Everything relative is relative to a root folder: the one given on opening, else the spec's own
``root`` (where ``$NAME`` stands for an environment variable), else the folder of the spec's file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import ImageColor
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from regiontree.system.reading import Listed, Place, Section, read_mapping, validated

__all__ = ["DatasetSpec", "FileSet", "LabelTable", "load_spec", "rgb_of"]


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of ``RRGGBB``, ``#RRGGBB`` or a CSS colour name."""
    text = f"#{colour}" if re.fullmatch(r"[0-9a-fA-F]{6}", colour) else colour
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise ValueError("must be a colour, as RRGGBB or a name like white") from None
    return red, green, blue


def _colour(text: str) -> str:
    rgb_of(text)
    return text


def _in_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class FileSet(Section):
    """Files of one kind; a plain text is their folder.

    Attributes
    ----------
    dir : Path
        Folder, with sub-folders: the id of ``DIR/aachen/1.png`` is ``aachen/1``.
    listing : Path, optional
        Key ``list``: a text file of ids, one per line; without it, every file of the folder.
    suffixes : tuple of str
        One text or several; the key may be ``suffix`` too. Upper and lower case are the same.
        Default: the usual ones.
    strip : str
        Ending of the names that is not part of the id, such as ``_leftImg8bit``.
    """

    dir: Place
    listing: Place | None = Field(default=None, alias="list")
    suffixes: Annotated[Listed[str], BeforeValidator(_in_list)] = Field(
        default=(), validation_alias=AliasChoices("suffix", "suffixes")
    )
    strip: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        if isinstance(given, str | Path):
            return {"dir": given}
        if not isinstance(given, Mapping | FileSet):
            raise ValueError("must be a folder, or dir and what else is needed")
        return given

    @field_validator("suffixes")
    @classmethod
    def _with_dot(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(s if "." in s else f".{s}" for s in suffixes)


class LabelTable(Section):
    """A table of labels; see :func:`regiontree.datasets.labelfiles.read_table`."""

    table: Place
    columns: Listed[int] | None = None
    ignore: Listed[int | str] = ()
    background: Listed[int | str] = ()
    prefix: str | None = None


class DatasetSpec(Section):
    """One split of a data set.

    Attributes
    ----------
    name, split : str
    root : str, optional
        Folder that the other paths are relative to.
    images : FileSet
    masks : FileSet or None
        None: there is no ground truth.
    ids : str
        Which side says what belongs to the split: ``images`` (default) or ``masks``.
    format : str
        What a mask file is; see :mod:`regiontree.datasets.masks`.
    segments : Path, optional
        JSON of the segments; format ``panoptic`` only.
    colours : mapping of str to int
        Id of each colour, by its name or as RRGGBB; format ``colours`` only.
    divide : int, optional
        Values from here on are class * divide + instance: only the class is kept.
    labels : str, LabelTable or None
        Name of a shipped label tree, a label file, or a table; ``from segments``: the categories
        of the panoptic JSON. None: regions without classes.
    expected : int, optional
        Number of images of the complete split.
    """

    name: str = ""
    split: str = "all"
    root: str | None = None
    images: FileSet
    masks: FileSet | None = None
    ids: Literal["images", "masks"] = "images"
    format: Literal["index", "red", "panoptic", "colours", "bsds", "pascal_part_mat"] = "index"
    segments: Place | None = None
    colours: dict[Annotated[str, AfterValidator(_colour)], int] = Field(default_factory=dict)
    divide: int | None = Field(default=None, ge=2)
    labels: str | LabelTable | None = None
    expected: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> DatasetSpec:
        for key, wanted in (("segments", "panoptic"), ("colours", "colours")):
            if bool(getattr(self, key)) != (self.format == wanted):
                verb = "needs" if self.format == wanted else "has no use for"
                raise ValueError(f"format {self.format} {verb} {key!r}")
        if self.format == "pascal_part_mat" and self.labels is None:
            raise ValueError("format pascal_part_mat needs 'labels': part names become its ids")
        if self.divide and self.format != "index":
            raise ValueError(f"format {self.format} has no use for 'divide'")
        if self.ids == "masks" and self.masks is None:
            raise ValueError("ids: masks needs 'masks'")
        return self


def load_spec(path: str | Path) -> DatasetSpec:
    """Read a spec from a YAML or JSON file; its name is the file's where it gives none.

    Raises
    ------
    ConfigError
        No such file, not YAML or JSON, an unknown key or a wrong value.
    """
    path = Path(path)
    return validated(DatasetSpec, {"name": path.stem, **read_mapping(path, "a data set")}, path)
