"""How long the frames of an animated GIF, PNG or WebP last, without decoding any.

Sources: GIF89a; the PNG specification (third edition), chunks acTL and fcTL; RFC 9649 (WebP).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

__all__ = ["Animation", "animation_of"]

_UNSAID = 0.1  # seconds of a frame that lasts 0 seconds by its file, as in browsers


@dataclass(slots=True)
class Animation:
    """What a file says of its frames.

    Attributes
    ----------
    seconds : list of float
        How long each lasts.
    first : int
        Number of pictures before the first frame: 1 if a PNG has another picture for programs that
        know no animations.
    is_whole : bool
        Whether the file has its end.
    """

    seconds: list[float] = field(default_factory=list)
    first: int = 0
    is_whole: bool = False

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds or _UNSAID)

    @property
    def times(self) -> list[float]:
        """When each frame begins, in seconds."""
        total, times = 0.0, []
        for seconds in self.seconds:
            times.append(round(total, 6))
            total += seconds
        return times


def animation_of(path: Path) -> Animation | None:
    """The frames of a GIF, or of a PNG or WebP that is animated; None for all other files."""
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] == b"GIF8":
            return _of_gif(file)
        if start[:8] == b"\x89PNG\r\n\x1a\n":
            return _of_png(file)
        if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            return _of_webp(file)
    return None


def _of_gif(file: IO[bytes]) -> Animation:
    found, delay = Animation(), 0.0
    file.seek(10)
    _skip_colours(file, file.read(1))
    file.seek(2, 1)
    while kind := file.read(1):
        if kind == b";":
            found.is_whole = True
            break
        if kind == b"!":
            label = file.read(1)
            if label == b"\xf9":
                block = file.read(6)
                delay = int.from_bytes(block[2:4], "little") / 100
                if block[5:] == b"\0":
                    continue
            _skip_blocks(file)
        elif kind == b",":
            head = file.read(9)
            if len(head) < 9:
                break
            _skip_colours(file, head[8:])
            file.seek(1, 1)
            found.add(delay)
            delay = 0.0
            _skip_blocks(file)
        elif kind != b"\0":  # some programs write empty blocks
            break
    return found


def _skip_colours(file: IO[bytes], packed: bytes) -> None:
    if packed and packed[0] & 0x80:
        file.seek(3 << ((packed[0] & 7) + 1), 1)


def _skip_blocks(file: IO[bytes]) -> None:
    while (length := file.read(1)) and length != b"\0":
        file.seek(length[0], 1)


def _of_png(file: IO[bytes]) -> Animation | None:
    found, is_animated, has_data = Animation(), False, False
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"acTL":
            is_animated = True
        elif kind == b"IDAT" and not has_data:
            if not is_animated:
                return None
            has_data, found.first = True, int(not found.seconds)
        elif kind == b"fcTL":
            control = file.read(length)
            over, under = control[20:22], control[22:24]
            per = int.from_bytes(under, "big") or 100
            found.add(int.from_bytes(over, "big") / per)
            length = 0
        elif kind == b"IEND":
            found.is_whole = True
            break
        file.seek(length + 4, 1)
    return found if is_animated else None


def _of_webp(file: IO[bytes]) -> Animation | None:
    found = Animation()
    file.seek(4)
    end = 8 + int.from_bytes(file.read(4), "little")
    size = file.seek(0, 2)
    found.is_whole = size >= end
    at = 12
    while at + 8 <= min(size, end):
        file.seek(at)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"ANMF":
            frame = file.read(16)
            found.add(int.from_bytes(frame[12:15], "little") / 1000)
        at += 8 + length + length % 2
    return found if found.seconds else None
