"""Which file, row or photograph belongs to each sample of a data set, by names alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from regiontree.datasets.dataset import Dataset, Sample
from regiontree.errors import DataError, RegionTreeError

__all__ = ["Candidate", "absent_text", "match_samples", "nothing_scored", "require_samples"]


class Candidate(Protocol):
    """What may belong to a sample."""

    @property
    def key(self) -> str:
        """Its path below its folder, like the id of a sample: ``city/scan``."""

    @property
    def places(self) -> tuple[str, ...]:
        """Paths of which the id of a sample may be the end."""

    @property
    def owner(self) -> Any:
        """What it is, hashable: two candidates of one owner are one and the same."""


C = TypeVar("C", bound=Candidate)


def match_samples(
    samples: Sequence[Sample],
    named: Mapping[str, Sequence[C]],
    names_of: Callable[[Sample], Iterable[str]],
    only: Callable[[Sample, list[C]], C | RegionTreeError | None],
    shared: Callable[[C, list[str]], RegionTreeError],
) -> dict[str, C | RegionTreeError]:
    """The candidate of each sample that has one, by the sample's id; or what is wrong.

    A candidate of the sample ``city/scan``, a file ``scan.jpg``, has the key ``city/scan`` or
    ``city/scan.jpg``. Where there is none, one of its places ends so. Where no place ends with the
    whole id, the last part of the id decides, if it names one candidate for one sample. A candidate
    that one of these rules gave to a sample is not used by the next.

    Parameters
    ----------
    samples
    named
        Candidates by the last part of their keys.
    names_of
        The last parts that a candidate of a sample can have.
    only
        The one of several candidates, None if there is none, or the error that there are several.
    shared
        The error that a candidate fits several samples, whose ids are given.
    """
    matches: dict[str, C | RegionTreeError] = {}
    taken: set[Hashable] = set()
    # The longest ids come first, so that x does not get the candidate of a/x.
    pending = sorted(samples, key=lambda sample: -sample.id.count("/"))
    for fits in (_is_exact, _is_end, _is_name):
        users: dict[Hashable, tuple[C, list[str]]] = {}
        # By the end of a path, the longer id has the candidate; by equal names, nobody does.
        used = taken if fits is _is_end else set(taken)
        for sample in pending:
            ids = (sample.id, sample.id + sample.image.suffix)
            same = [one for name in names_of(sample) for one in named.get(name, ())]
            match = only(sample, [one for one in same if fits(one, ids) and one.owner not in used])
            if match is None:
                continue
            matches[sample.id] = match
            if not isinstance(match, RegionTreeError):
                taken.add(match.owner)
                users.setdefault(match.owner, (match, []))[1].append(sample.id)
        for one, ids_of in users.values():
            if len(ids_of) > 1:
                matches |= dict.fromkeys(ids_of, shared(one, ids_of))
        pending = [sample for sample in pending if sample.id not in matches]
    return matches


def _is_exact(one: Candidate, ids: Sequence[str]) -> bool:
    return one.key in ids


def _is_end(one: Candidate, ids: Sequence[str]) -> bool:
    return any(place.endswith(f"/{known}") for place in one.places for known in ids)


def _is_name(one: Candidate, ids: Sequence[str]) -> bool:
    return True


def require_samples(dataset: Dataset) -> None:
    """Raise a DataError, with what is wrong, if a data set has no images."""
    if not dataset.samples:
        said = dataset.problems or ("it has no images",)
        raise DataError(f"{dataset.name} cannot be scored:\n" + "\n".join(f"  {s}" for s in said))


def absent_text(absent: Sequence[str], lack: str) -> str:
    """One sentence about samples that have no match.

    >>> absent_text(["a", "b", "c", "d"], "have no tree")
    '4 images have no tree: a, b, c and 1 more'
    """
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    return f"{len(absent)} images {lack}: {', '.join(absent[:3])}{more}"


def nothing_scored(failed: Sequence[str]) -> DataError:
    """The error that no image could be scored, with the first reasons."""
    return DataError("nothing could be scored:\n" + "\n".join(f"  {s}" for s in failed[:20]))
