"""Colour profiles: colours as their ICC profile means them, in sRGB."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["inks_to_srgb", "to_srgb"]

# Profiles of printers take a few megabytes. A larger one is left aside.
_LARGEST_PROFILE = 32 << 20
# A profile that moves no colour further than this is sRGB under some name.
_SAME = 3
# Colours on which a profile is compared with sRGB.
_PROBE = np.stack(np.meshgrid(*[np.linspace(0, 255, 6).astype(np.uint8)] * 3), axis=-1)
_NOT_APPLIED = "not applied"


def to_srgb(rgb: NDArray[np.uint8], profile: bytes) -> tuple[NDArray[np.uint8], str | None]:
    """The colours in sRGB, and what to record: the profile's name, or why it was left aside.

    Parameters
    ----------
    rgb
        (h, w, 3). For a profile of grey, the three channels are equal.
    profile
        The ICC profile. One that is damaged or does not fit is not applied. One that is sRGB, by
        whatever name, leaves every byte as it is, and nothing is recorded.
    """
    grey = profile[16:20] == b"GRAY"
    if profile[16:20] not in (b"RGB ", b"GRAY"):
        return rgb, f"{_NOT_APPLIED}: it is for {profile[16:20].decode('latin-1').strip()!r}"
    if grey and not (rgb == rgb[:, :, :1]).all():
        return rgb, f"{_NOT_APPLIED}: it is for grey"
    image = Image.fromarray(np.ascontiguousarray(rgb[:, :, 0] if grey else rgb))
    probe = np.arange(256, dtype=np.uint8).reshape(16, 16) if grey else _PROBE.reshape(18, 12, 3)
    change = _Change.of(profile, "L" if grey else "RGB")
    if isinstance(change, str):
        return rgb, change
    before = np.dstack([probe] * 3) if grey else probe
    after = np.asarray(change.applied(Image.fromarray(probe)))
    if np.abs(after.astype(np.int16) - before).max() <= _SAME:
        return rgb, None
    return np.asarray(change.applied(image)), change.name


def inks_to_srgb(inks: Image.Image, profile: bytes | None) -> tuple[NDArray[np.uint8], str | None]:
    """Colours of a CMYK image, and what to record of its profile.

    Without a usable profile the inks are taken for ideal ones.
    """
    said = None
    if profile is not None:
        change = _Change.of(profile, "CMYK") if profile[16:20] == b"CMYK" else _NOT_APPLIED
        if not isinstance(change, str):
            return np.asarray(change.applied(inks)), change.name
        said = change
    return np.asarray(inks.convert("RGB")), said


class _Change:
    """The change from a profile's colours to sRGB, as littlecms makes it."""

    def __init__(self, transform: object, name: str) -> None:
        self.transform, self.name = transform, name

    @classmethod
    def of(cls, profile: bytes, mode: str) -> _Change | str:
        """The change, or the reason why there is none."""
        if len(profile) > _LARGEST_PROFILE:
            return f"{_NOT_APPLIED}: it is larger than {_LARGEST_PROFILE >> 20} MB"
        try:
            from PIL import ImageCms

            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = ImageCms.buildTransform(
                opened, ImageCms.createProfile("sRGB"), mode, "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )  # fmt: skip
            name = ImageCms.getProfileDescription(opened)
        except ImportError:
            return f"{_NOT_APPLIED}: Pillow was built without littlecms"
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return f"{_NOT_APPLIED}: it is damaged"
        return cls(transform, " ".join(name.split())[:80] or "without a name")

    def applied(self, image: Image.Image) -> Image.Image:
        from PIL import ImageCms

        changed = ImageCms.applyTransform(image, self.transform)  # type: ignore[arg-type]
        assert changed is not None
        return changed
