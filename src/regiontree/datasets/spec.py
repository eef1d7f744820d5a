"""The description of a data set: its images, its masks, and the meaning of the masks.

A :class:`DatasetSpec` describes one split. It can be written as YAML or JSON. Three lines are
enough for a data set of your own::

    images: photos
    masks: masks
    labels: labels.txt

Relative paths start at a root folder. This is the root that the caller gives, or else the ``root``
of the spec (where ``$NAME`` stands for an environment variable), or else the folder of the spec's
file.
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

__all__ = ["DatasetSpec", "FileSet", "Instances", "LabelTable", "NumberedFiles", "load_spec",
           "rgb_of"]  # fmt: skip


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255 each, of ``RRGGBB``, ``#RRGGBB`` or a CSS colour name.

    Raises
    ------
    ValueError
        `colour` is none of these.
    """
    text = f"#{colour}" if re.fullmatch(r"[0-9a-fA-F]{6}", colour) else colour
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise ValueError("must be a colour, such as RRGGBB or a name like white") from None
    return red, green, blue


def _colour(text: str) -> str:
    """`text`, once it is known to be a colour."""
    rgb_of(text)
    return text


def _in_list(value: object) -> object:
    """A single text as a list with one text."""
    return [value] if isinstance(value, str) else value


class FileSet(Section):
    """The files of one kind: images or masks. A plain text in a spec is their folder.

    Attributes
    ----------
    dir : Path
        Folder of the files. Its sub-folders count too: the id of ``DIR/aachen/1.png`` is
        ``aachen/1``.
    listing : Path, optional
        A text file with one id in each line. Its key is ``list``. Without it, every file of the
        folder belongs to the split.
    suffixes : tuple of str
        Suffixes of the files, in upper or lower case. The key is ``suffix`` or ``suffixes``, with
        one text or several. Default: the usual suffixes of images or of the mask format.
    strip : str
        End of the names that is not part of the id, such as ``_leftImg8bit``.
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
            raise ValueError("must be a folder, or a mapping with the key dir")
        return given

    @field_validator("suffixes")
    @classmethod
    def _with_dot(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(s if "." in s else f".{s}" for s in suffixes)


class NumberedFiles(FileSet):
    """Masks beside those of the classes: one file for each sample, named after its id.

    Attributes
    ----------
    dir, strip
        As in :class:`FileSet`. The file of the sample ``a/b`` is ``DIR/a/bSTRIP.png``.
    suffixes : tuple of str
        At most one. Default: ``.png``.
    void : tuple of int
        Values of pixels that belong to nothing. Not for format ``painted``.
    """

    void: Listed[int] = (0,)

    @model_validator(mode="after")
    def _one_suffix(self) -> NumberedFiles:
        if self.listing is not None:
            raise ValueError("'list' is not used here; the ids are those of the samples")
        if len(self.suffixes) > 1:
            raise ValueError(f"needs one suffix, got {', '.join(self.suffixes)}")
        return self

    def file(self, sample: str) -> Path:
        """The file of the sample with this id, below the root."""
        suffix = self.suffixes[0] if self.suffixes else ".png"
        return self.dir / f"{sample}{self.strip}{suffix}"


class Instances(Section):
    """Where the segments of a data set are: its things told apart, its stuff, and its parts.

    Attributes
    ----------
    masks : NumberedFiles or None
        None: the masks of the classes tell segments apart, too. They must have the format
        ``panoptic``, or ``divide``.
    format : {"numbers", "divided", "painted"}
        What the values of `masks` are: see :mod:`regiontree.datasets.segments`.
    divide : int, optional
        For format ``divided``: values of at least this are class * divide + instance.
    things, stuff : tuple of int or str
        Ids or names of classes or of their groups. With `things`, all other classes are stuff.
        With `stuff`, all others are things. With neither, all are things.
    parts : NumberedFiles or None
        Masks of parts. What one segment has of one value is a part.
    """

    masks: NumberedFiles | None = None
    format: Literal["numbers", "divided", "painted"] = "numbers"
    divide: int | None = Field(default=None, ge=2)
    things: Listed[int | str] = ()
    stuff: Listed[int | str] = ()
    parts: NumberedFiles | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Instances:
        if self.things and self.stuff:
            raise ValueError("give 'things' or 'stuff'; all other classes are of the other kind")
        if (self.divide is not None) != (self.format == "divided"):
            verb = "needs" if self.divide is None else "does not use"
            raise ValueError(f"format {self.format} {verb} 'divide'")
        if self.masks is None and self.format != "numbers":
            raise ValueError(f"format {self.format} needs 'masks'")
        if self.masks is not None and self.format == "painted" and self.masks.void != (0,):
            raise ValueError("format painted does not use 'void', since its numbers start from 0")
        return self

    @property
    def text(self) -> str:
        """What the segments of the data set are, in a few sentences."""
        folder = "the masks" if self.masks is None else self.masks.dir.as_posix()
        said = {
            "numbers": f"A segment is a number of {folder}",
            "divided": f"A segment is an instance of {folder} or a class of stuff",
            "painted": f"A segment is an instance painted in {folder} or a class of stuff",
        }[self.format]
        names = "; ".join(map(str, self.things or self.stuff))
        kinds = "Things are" if self.things else "Stuff is" if self.stuff else "All are things"
        said += f". {kinds} {names}." if names else f". {kinds}."
        if self.parts is not None:
            said += f" A part is what a segment has of a value of {self.parts.dir.as_posix()}."
        return said


class LabelTable(Section):
    """A table of labels: see :func:`regiontree.datasets.labelfiles.read_table`.

    Attributes
    ----------
    table : Path
        File of the table.
    columns, ignore, background, prefix
        The parameters of :func:`~regiontree.datasets.labelfiles.read_table`.
    """

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
        Whether the ids of ``images`` (default) or of ``masks`` belong to the split.
    format : str
        Format of the mask files: see :mod:`regiontree.datasets.masks`.
    segments : Path, optional
        JSON file with the segments. Only for format ``panoptic``.
    colours : mapping of str to int
        Id of each colour, given as RRGGBB or by name. Only for format ``colours``.
    divide : int, optional
        Values of at least this are class * divide + instance, and only the class is kept. Only for
        format ``index``.
    instances : Instances or None
        Where the segments are that tell things apart. None: the data set does not say.
    labels : str, LabelTable or None
        Name of a label tree that comes with regiontree, a label file, or a table. The text
        ``from segments`` means the categories of the panoptic JSON. None: regions have no classes.
    expected : int, optional
        Number of images in the complete split.
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
    instances: Instances | None = None
    labels: str | LabelTable | None = None
    expected: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> DatasetSpec:
        for key, wanted in (("segments", "panoptic"), ("colours", "colours")):
            if bool(getattr(self, key)) != (self.format == wanted):
                verb = "needs" if self.format == wanted else "does not use"
                raise ValueError(f"format {self.format} {verb} {key!r}")
        if self.format == "pascal_part_mat" and self.labels is None:
            raise ValueError("format pascal_part_mat needs 'labels', which give part names ids")
        if self.divide and self.format != "index":
            raise ValueError(f"format {self.format} does not use 'divide'")
        if self.ids == "masks" and self.masks is None:
            raise ValueError("'ids: masks' needs 'masks'")
        if self.instances is not None:
            if self.masks is None or self.labels is None or self.format == "bsds":
                raise ValueError("'instances' needs 'masks' of classes and their 'labels'")
            if self.instances.masks is None and self.format != "panoptic" and not self.divide:
                raise ValueError("'instances' needs 'masks', where a segment is a number")
        return self


def load_spec(path: str | Path) -> DatasetSpec:
    """The spec in a YAML or JSON file. Without a name, it is named after the file.

    Raises
    ------
    ConfigError
        There is no such file, it is not YAML or JSON, a key is unknown, or a value is wrong.
    """
    path = Path(path)
    return validated(DatasetSpec, {"name": path.stem, **read_mapping(path, "a data set")}, path)
