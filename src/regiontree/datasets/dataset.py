"""A data set on disk: its samples, the ground truth of each sample, and what is missing.

:func:`list_dataset` lists each folder once and opens no image and no mask. It leaves out what does
not fit, such as an image without a mask, and describes it in ``problems``. So every sample has an
image, and a mask if the data set has masks. If the label tree cannot be read, the masks have no
meaning, and the data set has no samples.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from regiontree.datasets import masks
from regiontree.datasets.labels import LabelTree, load_label_tree
from regiontree.datasets.segments import read_segment_maps, segment_files
from regiontree.datasets.spec import DatasetSpec, FileSet, LabelTable, load_spec, rgb_of
from regiontree.errors import ConfigError, DataError
from regiontree.images import image_suffixes
from regiontree.metrics.segmentmap import SegmentMap
from regiontree.system.paths import path_problem, reason

__all__ = ["Dataset", "Sample", "list_dataset", "open_spec", "root_of"]

_MASK_SUFFIXES = {"bsds": (".mat", ".png"), "pascal_part_mat": (".mat",)}
_ANNOTATOR = re.compile(r"_a(\d+)$")


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its masks.

    Attributes
    ----------
    id : str
        Path of the image below its folder, without the ending.
    image : Path
    masks : tuple of Path
        Empty without ground truth. Otherwise one mask, or one for each annotator.
    """

    id: str
    image: Path
    masks: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """One split of a data set.

    Attributes
    ----------
    name, split : str
    samples : tuple of Sample
        Samples, sorted by id.
    labels : LabelTree or None
        The meaning of the ids. None if the ids only tell regions apart, or if the label tree cannot
        be read.
    spec : DatasetSpec
    root : Path
        Folder that the paths of the spec are relative to.
    problems : tuple of str
        Sentences that say what is missing, wrong or superfluous. A problem with the label tree
        comes first.
    """

    name: str
    split: str
    samples: tuple[Sample, ...]
    labels: LabelTree | None
    spec: DatasetSpec
    root: Path
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def truths(self, sample: Sample) -> list[masks.Ids]:
        """The masks of a sample, one for each annotator: (H, W) int32 ids.

        Raises
        ------
        DataError
            The sample has no mask, or the file is missing, damaged or of another format. The
            message names the file.
        """
        if not sample.masks:
            raise DataError(
                f"{self.name}: {sample.id} has no ground truth; use a split that has masks"
            )
        spec, first = self.spec, sample.masks[0]
        match spec.format:
            case "bsds" if first.suffix.lower() == ".mat":
                return masks.read_bsds(first)
            case "bsds":
                return [masks.read_index(file) for file in sample.masks]
            case "red":
                return [masks.read_red(first)]
            case "colours":
                colours = {rgb_of(colour): i for colour, i in spec.colours.items()}
                return [masks.read_colours(first, colours)]
            case "panoptic":
                assert spec.segments is not None  # DatasetSpec checks this
                segments = masks.read_segments(self.root / spec.segments)
                return [masks.read_panoptic(first, segments)]
            case "pascal_part_mat":
                assert self.labels is not None  # without a label tree there are no samples
                return [masks.read_pascal_part(first, self.labels)]
            case "index":
                return [masks.read_index(first, spec.divide)]

    def truth(self, sample: Sample) -> masks.Ids:
        """The mask of a sample with one annotator: (H, W) int32 ids.

        Raises
        ------
        DataError
            The sample has several annotators, or as for :meth:`truths`.
        """
        found = self.truths(sample)
        if len(found) > 1:
            raise DataError(
                f"{self.name}: {sample.id} has {len(found)} annotators; use truths for all of them"
            )
        return found[0]

    def segments(self, sample: Sample) -> tuple[SegmentMap, ...]:
        """The segments of a sample: a map of things and stuff, and one of parts if the spec has it.

        Raises
        ------
        DataError
            The sample has no mask, or a file of segments is missing, damaged or of another size.
            The message names the file.
        ConfigError
            As for :meth:`require_segments`, or the spec names a class that there is not.
        """
        self.require_segments()
        classes = self.truth(sample)
        assert self.labels is not None  # DatasetSpec checks that there are labels
        return read_segment_maps(
            self.spec, self.root, self.labels, sample.id, sample.masks[0], classes
        )

    @property
    def segments_text(self) -> str:
        """What the segments are, in a few sentences; empty if the spec does not say."""
        return "" if self.spec.instances is None else self.spec.instances.text

    def segment_files(self, sample: Sample) -> tuple[Path, ...]:
        """The files beside the masks that :meth:`segments` reads."""
        return segment_files(self.spec, self.root, sample.id)

    def require_segments(self) -> None:
        """Raise a ConfigError if the spec does not say where segments are."""
        if self.spec.instances is None:
            raise ConfigError(
                f"{self.name}: the data set does not say which segments its images have; add "
                "'instances' to its description (docs/datasets.md), or leave out what needs them"
            )


def open_spec(
    spec: DatasetSpec | str | Path, split: str | None = None, root: str | Path | None = None
) -> Dataset:
    """The data set of a spec, or of a file that holds a spec.

    Parameters
    ----------
    spec : DatasetSpec, str or Path
        A spec, or a YAML or JSON file with a spec.
    split : str, optional
        The split that the spec must describe. None: any.
    root : str or Path, optional
        Folder of the data set's files. None: the root that the spec names (see :func:`root_of`).

    Raises
    ------
    ConfigError
        The spec is wrong or describes another split, or its root names an unset variable.
    """
    home = Path()
    if not isinstance(spec, DatasetSpec):
        home = Path(spec).parent
        spec = load_spec(spec)
    if split is not None and split != spec.split:
        raise ConfigError(
            f"{spec.name}: describes split {spec.split!r}, not {split!r}; leave out the split or "
            "name another file"
        )
    return list_dataset(spec, root_of(spec, home) if root is None else Path(root))


def root_of(spec: DatasetSpec, home: Path) -> Path:
    """The root folder that a spec in the folder `home` names, or else `home`.

    Raises
    ------
    ConfigError
        The root names an environment variable that is not set.
    """
    if spec.root is None:
        return home
    root = os.path.expandvars(os.path.expanduser(spec.root))
    if unset := re.search(r"\$\{?(\w+)", root):
        raise ConfigError(
            f"{spec.name}: root is {spec.root!r}, but the environment variable {unset[1]} is not "
            "set; set the variable or give the root folder yourself"
        )
    return home / root


def list_dataset(spec: DatasetSpec, root: Path) -> Dataset:
    """The data set of a spec: its files below `root`, with images and masks paired by id.

    Missing files are not an error: see :attr:`Dataset.problems`.
    """
    problems: list[str] = []
    images, image_ids = _listed(spec.images, root, "images", tuple(image_suffixes()), problems)
    samples = {i: Sample(i, Path(files[0])) for i, files in images.items()}
    wanted = image_ids
    if spec.masks is not None:
        usual = _MASK_SUFFIXES.get(spec.format, (".png",))
        several = spec.format == "bsds"
        found, mask_ids = _listed(spec.masks, root, "masks", usual, problems, several=several)
        # If only the images have a list of ids, the list holds for the masks too.
        if spec.ids == "masks":
            wanted = mask_ids
        elif spec.images.listing is not None and spec.masks.listing is None:
            mask_ids = image_ids
        have = found.keys() & mask_ids
        # If the masks have a list, _listed has already reported the listed masks that are missing.
        reported = mask_ids if spec.masks.listing is not None else {}
        no_mask = [i for i in wanted if i in images and i not in have and i not in reported]
        no_image = [i for i in mask_ids if i in found and i not in images]
        folder = root / spec.masks.dir
        if images and (spec.images.listing is None or spec.ids == "masks"):
            _report(problems, no_image, len(mask_ids), f"masks in {folder} have no image")
        if found:  # a missing or empty folder is reported already
            _report(problems, no_mask, len(wanted), f"images have no mask in {folder}")
        paths = {i: tuple(Path(file) for file in found[i]) for i in have}
        samples = {i: Sample(i, s.image, paths[i]) for i, s in samples.items() if i in have}
    kept = tuple(samples[i] for i in sorted(wanted) if i in samples)
    if spec.expected is not None and len(wanted) != spec.expected and not problems:
        problems.append(
            f"{len(wanted)} images were found, but the complete split has {spec.expected}"
        )
    labels = None
    if spec.segments is not None and not os.path.isfile(root / spec.segments):
        problems.append(f"segments: {root / spec.segments} does not exist")
        kept = ()
    else:
        try:
            labels = _labels(spec, root)
        except DataError as error:
            problems.insert(0, str(error))
            kept = ()
    return Dataset(spec.name, spec.split, kept, labels, spec, root, tuple(problems))


def _listed(
    files: FileSet,
    root: Path,
    what: str,
    usual: tuple[str, ...],
    problems: list[str],
    *,
    several: bool = False,
) -> tuple[dict[str, list[str]], dict[str, None]]:
    """The files of each id in the folder, and the ids that belong to the split, in order.

    `usual` are the suffixes to look for if the spec names none. What is missing is added to
    `problems`. If `several` is true, an id can have one file for each annotator.
    """
    folder, suffixes = root / files.dir, files.suffixes or usual
    endings = tuple(sorted((f"{files.strip}{s}".lower() for s in suffixes), key=len, reverse=True))
    try:
        found, unread = _scan(folder, endings, several=several)
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL character
        problems.append(f"{what}: folder {folder} cannot be listed ({_reason(error)})")
        found = {}
    else:
        problems += [f"{what}: {said}" for said in unread]
        if not found:
            kinds = f"*{endings[0]}" if len(endings) == 1 else "image files"
            problems.append(f"{what}: folder {folder} holds no {kinds}")
    if not several:
        twice = [i for i, paths in found.items() if len(paths) > 1]
        _report(problems, twice, len(found), f"{what} in {folder} share their id with another file")
    if files.listing is None:
        return found, dict.fromkeys(found)
    listing = root / files.listing
    try:
        if problem := path_problem(listing, "file"):
            missing = "it does not exist" if not os.path.lexists(listing) else problem
            raise OSError(errno.EINVAL, missing)
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        problems.append(f"{what}: list {listing} cannot be read ({_reason(error)})")
        return {}, {}
    ids = dict.fromkeys(
        _without(line.strip(), endings, files.strip) for line in lines if line.strip()
    )
    absent = [i for i in ids if i not in found]
    if found:
        _report(problems, absent, len(ids), f"listed {what} are not in {folder}")
    return {i: found[i] for i in ids if i in found}, ids


def _scan(
    folder: Path, endings: tuple[str, ...], *, several: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """The paths of the files with one of the endings, by id, and what cannot be listed.

    Hidden files are left out. A folder below `folder` that cannot be listed is described in a
    sentence. So is a named pipe with one of the endings. If `folder` itself cannot be listed, an
    OSError is raised.

    Only the listings of folders are read. On a network disk, a question about each of 100,000 files
    would take 100,000 round trips.
    """
    found: dict[str, list[str]] = {}
    unread: list[str] = []
    pending, seen = [(str(folder), "")], {os.path.realpath(folder)}
    while pending:
        place, prefix = pending.pop()
        try:
            with os.scandir(place) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise
            unread.append(f"folder {place} cannot be listed ({_reason(error)})")
            continue
        for entry in listed:
            name = entry.name
            if name.startswith("."):
                continue
            # What an entry is comes with the listing. Only the target of a link is a question.
            is_link = entry.is_symlink()
            if name.lower().endswith(endings) and (is_link or not entry.is_dir()):
                if not is_link and not entry.is_file():
                    unread.append(f"{entry.path} {path_problem(entry.path)}")
                    continue
                stem = _without(name, endings)
                key = prefix + (_ANNOTATOR.sub("", stem) if several else stem)
                found.setdefault(key, []).append(entry.path)
            elif (os.path.isdir(entry.path) if is_link else entry.is_dir()) and (
                real := os.path.realpath(entry.path)
            ) not in seen:
                seen.add(real)  # a link to a folder above must not be followed forever
                pending.append((entry.path, f"{prefix}{name}/"))
    if several:
        for paths in found.values():
            paths.sort(key=_annotator)
    return found, unread


def _without(name: str, endings: Sequence[str], strip: str = "") -> str:
    """`name` without the first ending that it has; without `strip` if it has none of them."""
    lower = name.lower()
    ending = next((e for e in endings if lower.endswith(e)), None)
    return name.removesuffix(strip) if ending is None else name[: len(name) - len(ending)]


def _annotator(path: str) -> int:
    """The number of the annotator in a file name such as ``8068_a1.png``; -1 if there is none."""
    number = _ANNOTATOR.search(Path(path).stem)
    return int(number[1]) if number else -1


def _reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else reason(error)


def _report(problems: list[str], names: Collection[str], total: int, what: str) -> None:
    """Add one sentence about `names` to `problems`, with the first three of them."""
    if names:
        shown = [n if n.isprintable() else ascii(n) for n in sorted(names)[:3]]
        listed = ", ".join(n if len(n) <= 80 else f"{n[:80]}..." for n in shown)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        problems.append(f"{len(names)} of {total} {what}: {listed}{more}")


def _labels(spec: DatasetSpec, root: Path) -> LabelTree | None:
    """The label tree of a spec. A name with a suffix or a folder is a file below the root."""
    match spec.labels:
        case None:
            return None
        case LabelTable():
            how = spec.labels.model_dump(exclude={"table"})
            return LabelTree.from_table(root / spec.labels.table, **how)
        case "from segments" if spec.segments is not None:
            return masks.read_categories(root / spec.segments)
        case name:
            return load_label_tree(root / name if Path(name).suffix or "/" in name else name)
