"""Settings of clips, beside those of photographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regiontree.errors import SettingsError, nearest_name
from regiontree.settings import Settings
from regiontree.system.stages import build_record, check_settings, keys_of, setting

__all__ = ["ClipSettings", "check_for_clips", "clip_settings"]


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """How the frames of a clip share one tree."""

    window: int = setting(
        48,
        "Frames from the beginning of a window to that of the next. Patches of a window are "
        "grouped together.",
        low=2,
        high=4096,
        whole=True,
    )
    overlap: int = setting(
        8,
        "Frames that a window has in addition, and shares with the next one. They tell which tubes "
        "go on.",
        low=1,
        high=1024,
        whole=True,
    )
    density: float = setting(
        2.0,
        "Tubes of a window, as a multiple of the parts of a photograph.",
        low=0.1,
        high=10,
    )
    still: float = setting(
        0.0,
        "A frame that differs from the last one seen by less than this keeps its features, in grey "
        "levels of 255; 0 shows every frame to the network.",
        low=0,
        high=255,
    )
    steady: float = setting(
        4.0,
        "A pixel whose surroundings change by less than this keeps its leaf, in grey levels of "
        "255; 0 draws every frame on its own.",
        low=0,
        high=255,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.overlap >= self.window:
            raise SettingsError(
                f"overlap must be below window, which is {self.window}; got {self.overlap}"
            )


def clip_settings(given: ClipSettings | Mapping[str, Any] | None) -> ClipSettings:
    """The settings of a clip from some of their values; the others have their defaults.

    Raises
    ------
    SettingsError
        A name is unknown, or a value is out of range.
    """
    if isinstance(given, ClipSettings):
        return given
    keys = keys_of(ClipSettings)
    for name in given or {}:
        if name not in keys:
            raise SettingsError(
                f"clip.{name} is no setting{nearest_name(name, keys) or '.'} Known: "
                f"{', '.join(f'clip.{key}' for key in keys)}"
            )
    return build_record(ClipSettings, "clip", dict(given or {}))


def check_for_clips(settings: Settings) -> None:
    """Raise a SettingsError unless a tree of many frames can be made with these settings.

    Tubes are groups of neighbouring patches, and their tree is built from mean features. Methods
    that divide one photograph, and builders that need the affinities of all patches, do not fit.
    """
    if settings.parts.name != "contiguous":
        raise SettingsError(
            f"parts.method {settings.parts.name!r} divides one photograph, and a clip has many "
            "frames; leave it out, as contiguous is the method for clips"
        )
    if getattr(settings.tree, "uses_affinity", True):
        raise SettingsError(
            f"tree.builder {settings.tree.name!r} needs the affinities of all patches, which a "
            "clip has too many of; use ward"
        )
    if settings.is_precomputed:
        raise SettingsError("a clip needs a network that runs; leave backbone precomputed out")
