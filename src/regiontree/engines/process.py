"""From references to rows: the work on a batch of photographs, the same in every engine.

Three functions do it. An engine may call them in one process, or each on another machine:

reference -> pixels that the network sees, and pixels that borders are drawn on     (decoded)
          -> features of the patches                                                (features)
          -> the tree, in a row                                                     (trees)

A photograph that fails is a row with an error. A network that cannot be loaded is raised, since
then no photograph can be processed. Trees are built on the CPU, and the network sees one photograph
at a time. So the bytes of a row do not depend on the engine, or on what else is in the batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.backbones.featurefile import Features
from regiontree.backbones.run import run_batch
from regiontree.errors import FeatureError
from regiontree.forest.finding import looked_at
from regiontree.forest.row import Row
from regiontree.images import LoadedImage
from regiontree.images.choice import notice_of
from regiontree.images.given import Encoded
from regiontree.parser import RegionParser
from regiontree.references.reference import Reference
from regiontree.system.faults import attempt, fault_text
from regiontree.system.threads import threads_after_fork

__all__ = ["Staged", "decoded", "digest_of", "features", "process", "trees"]


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """A photograph between two stages.

    Attributes
    ----------
    reference : Reference
    image : LoadedImage or None
        The decoded photograph. After :func:`decoded` its colours are in `pixels` and `rgb`, and
        its own ``rgb`` is (1, 1, 3), so that a batch is small. None for feature files, and if
        decoding failed.
    pixels : Tensor or None
        What the network sees: (3, h * patch, w * patch) on the CPU. None once it has seen them, or
        if it need not.
    rgb : (H, W, 3) uint8 or None
        The photograph as fine as borders are drawn on it.
    features : Features or None
        Features of the patches, on the CPU.
    error : str or None
        Why the photograph failed.
    sha256 : str or None
        Digest of the photograph's bytes. None if they could not be read.
    seconds : float
        Time that the stages took so far.
    """

    reference: Reference
    image: LoadedImage | None = None
    pixels: Tensor | None = None
    rgb: NDArray[np.uint8] | None = None
    features: Features | None = None
    error: str | None = None
    sha256: str | None = None
    seconds: float = 0.0


def process(references: Sequence[Reference], parser: RegionParser) -> list[Row]:
    """The row of each reference, in their order. One photograph is in memory at a time.

    Parameters
    ----------
    references
        The batch.
    parser
        Makes the trees.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    """
    rows: list[Row] = []
    for reference in references:
        rows += trees(features([decoded(reference, parser)], parser), parser)
    return rows


def decoded(reference: Reference, parser: RegionParser) -> Staged:
    """A photograph, read and decoded.

    Parameters
    ----------
    reference
        Where its bytes lie.
    parser
        Of its network, only what :meth:`~regiontree.parser.RegionParser.describe` tells and the
        size of the patches count.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    """
    start = time.perf_counter()
    if not parser.settings.is_precomputed:
        parser.backbone  # noqa: B018 - an error of the network must stop the run
    found = attempt(partial(_decoded, reference, parser))
    if isinstance(found, Exception):
        digest = attempt(partial(digest_of, reference))
        found = Staged(
            reference,
            error=fault_text(found, _title(reference)),
            sha256=None if isinstance(digest, Exception) else digest,
        )
    return replace(found, seconds=time.perf_counter() - start)


def features(batch: Sequence[Staged], parser: RegionParser) -> list[Staged]:
    """The batch with the features of each photograph, in its order.

    Parameters
    ----------
    batch
        What :func:`decoded` made. A photograph that failed, or needs no network, stays as it is.
    parser
        Holds the network, on any device.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    """
    if any(one.pixels is not None for one in batch):
        parser.backbone  # noqa: B018 - an error of the network must stop the run
    return [one if one.pixels is None else _with_features(one, parser) for one in batch]


def trees(batch: Sequence[Staged], parser: RegionParser) -> list[Row]:
    """The rows of a batch, in its order.

    Parameters
    ----------
    batch
        What :func:`features` made.
    parser
        Builds the trees, on the CPU. Its network is not used.
    """
    on_cpu = parser.copied(device=torch.device("cpu"))
    return [_row_of(one, on_cpu) for one in batch]


# -- one photograph -------------------------------------------------------------------------------


def _given(reference: Reference) -> Path | Encoded:
    """The photograph as a parser reads it: its own file, or its bytes."""
    if (path := reference.path) is not None:
        return path
    from regiontree.references.reading import read_bytes

    return Encoded(read_bytes(reference), reference.name)


def _title(reference: Reference) -> str:
    """What messages call a photograph."""
    return str(reference.path or reference.id)


def digest_of(reference: Reference) -> str:
    """The sha256 of the bytes of a photograph.

    Raises
    ------
    OSError, SourceError
        They cannot be read.
    """
    return looked_at(reference.path or reference)[1]


@threads_after_fork()
def _decoded(reference: Reference, parser: RegionParser) -> Staged:
    photo = _given(reference)
    if parser.settings.is_precomputed:
        found = parser.extract(photo)
        rgb = parser.pixels(photo)
        return Staged(reference, None, None, rgb, found, sha256=_digest(found.source))
    image = parser.sight.load(photo)
    rgb = parser.pixels(photo, decoded=image)
    if image.is_uniform:  # such a photograph is one region, so the network is not run
        return Staged(reference, None, None, rgb, parser.extract(image), sha256=image.digest)
    pixels = parser.sight.network_input(image, parser.backbone.patch)
    small = replace(image, rgb=image.rgb[:1, :1].copy())
    return Staged(reference, small, pixels, rgb, sha256=image.digest)


def _with_features(one: Staged, parser: RegionParser) -> Staged:
    start = time.perf_counter()
    found = attempt(partial(_seen, one, parser))
    seconds = one.seconds + time.perf_counter() - start
    if isinstance(found, Exception):
        said = fault_text(found, _title(one.reference))
        return replace(one, pixels=None, rgb=None, image=None, error=said, seconds=seconds)
    return replace(one, pixels=None, image=None, features=found, seconds=seconds)


@threads_after_fork()
def _seen(one: Staged, parser: RegionParser) -> Features:
    """The features of a photograph, on the CPU."""
    assert one.image is not None
    assert one.pixels is not None
    network = parser.backbone
    patches = run_batch(network, one.pixels[None].to(network.device))[0].cpu()
    return parser.extract(one.image, patches=patches)


def _row_of(one: Staged, parser: RegionParser) -> Row:
    reference = one.reference
    row = Row(reference.id, reference.address, error=one.error, sha256=one.sha256)
    if one.error is not None:
        return row
    if one.features is None:
        lack = FeatureError("has no features; run the command again")
        return replace(row, error=fault_text(lack, _title(reference)))
    made = attempt(partial(parser.build, one.features, rgb=one.rgb))
    if isinstance(made, Exception):
        return replace(row, error=fault_text(made, _title(reference)))
    return replace(row, tree=made, notice=notice_of(made.meta.get("image", {})))


def _digest(source: dict[str, Any] | None) -> str | None:
    found = (source or {}).get("sha256")
    return found if isinstance(found, str) else None
