"""Open the file of a film with PyAV, and say in words why one cannot be opened.

FFmpeg looks at the content, not at the name. Only formats that hold a film in one file are allowed:
others name further files or addresses, which nobody asked for.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from regiontree.errors import ImageError
from regiontree.system.damage import plain_reason
from regiontree.system.extras import optional

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["FILM_SUFFIXES", "NotAFilm", "cut_off", "is_film", "opened", "require_av"]

FILM_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".h264", ".hevc", ".ivf", ".m1v",
    ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".nut", ".obu", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})  # fmt: skip
"""Endings of files that hold films."""
_FORMATS = (
    "asf,av1,avi,dv,flv,gxf,h261,h263,h264,hevc,iv8,ivf,ivr,kux,live_flv,m4v,matroska,webm,mjpeg,"
    "mjpeg_2000,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,rm,swf,vc1,vvc,"
    "wtv,yuv4mpegpipe"
)
_BRANDS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_STARTS = (
    b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"\0\0\1\xba", b"\0\0\1\xb3", b"DKIF", b"YUV4MPEG2",
    b"0&\xb2u\x8ef\xcf\x11", b"\x06\x0e+4\x02\x05\x01\x01", b"nut/multimedia",
)  # fmt: skip
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heif", b"mif1", b"msf1", b"jxl ", b"crx ")
_HEAD = 1 << 24  # bytes in which the index of a film is looked at
_WALKED = 100_000  # boxes of a file that are looked at


class NotAFilm(Exception):  # noqa: N818  says what the file is
    """FFmpeg knows no film in the file."""


def require_av() -> Any:
    """The package ``av``.

    Raises
    ------
    MissingExtraError
        It is not installed, or too old.
    """
    av = optional("av", "video", "films need")
    import_module("av.logging")
    return av


def is_film(path: Path, start: bytes) -> bool:
    """Whether a file looks like a film by its first bytes, or else by its name."""
    return _starts_as_film(start) or path.suffix.lower() in FILM_SUFFIXES


def _starts_as_film(start: bytes) -> bool:
    if start[4:8] in _BRANDS:
        return not (start[4:8] == b"ftyp" and start[8:12] in _STILL_BRANDS)
    if start[:4] == b"RIFF":
        return start[8:12] == b"AVI "
    return start.startswith(_STARTS) or start[:1] + start[188:189] == b"GG"


@contextmanager
def opened(path: Path) -> Generator[tuple[InputContainer, VideoStream]]:
    """A film and its video stream, closed at the end of the block.

    Raises
    ------
    ImageError
        The file has no film that can be read; the message says why.
    NotAFilm
        FFmpeg knows no film in it.
    """
    av = require_av()
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    # From PyAV 19 on, metadata that is no UTF-8 is always replaced, and there is no such argument.
    lenient = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        container = av.open(f"file:{path}", options=options, **lenient)
    except av.error.FFmpegError as error:
        raise _refusal(path, error) from None
    except UnicodeError as error:
        raise ImageError(f"{path}: cannot be read ({plain_reason(error)})") from error
    try:
        yield container, _stream(container, path)
    finally:
        container.close()


def _stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that players show: the one marked as default, or else the first."""
    from av.stream import Disposition

    covers = Disposition.attached_pic
    streams = [one for one in container.streams.video if not one.disposition & covers]
    if not streams:
        kinds = sorted({str(one.type) for one in container.streams}) or ["nothing"]
        what = "a picture for its cover, but no film" if container.streams.video else "no film"
        raise ImageError(f"{path}: holds {what} ({', '.join(kinds)}); give a file with a film")
    marked = [one for one in streams if one.disposition & Disposition.default]
    stream = (marked or streams)[0]
    if stream.codec_context is None:
        raise ImageError(f"{path}: {_unknown_codec(path)}")
    return stream


def _unknown_codec(path: Path) -> str:
    if is_encrypted(path):
        return "is encrypted; decrypt it first"
    name = _codec_name(path)
    return (
        f"is coded in a way that FFmpeg has no decoder for{f' ({name})' if name else ''}; convert "
        "it to H.264, with HandBrake for example"
    )


def _codec_name(path: Path) -> str:
    """What an MP4, AVI or Matroska file calls the coding of its film; empty if it is not found."""
    with path.open("rb") as file:
        start = file.read(_HEAD)
        index = start
        for kind, begin, size in _boxes(file, path.stat().st_size):
            if kind == b"moov":
                file.seek(begin)
                index = file.read(min(size, _HEAD))
    patterns = (rb"stsd.{12}([ -~]{4})", rb"vids([ -~]{4})", rb"(V_[A-Z0-9/_]+)")
    found = (re.search(pattern, index, re.DOTALL) for pattern in patterns)
    return next((match[1].decode("ascii") for match in found if match), "")


def _refusal(path: Path, error: Exception) -> Exception:
    """Why FFmpeg does not open a file."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return ImageError(f"{path}: is empty (0 bytes); copy or download it again")
    if not _starts_as_film(start):
        return NotAFilm(plain_reason(error))
    if start[4:8] in _BRANDS and not _has_index(path):
        return ImageError(
            f"{path}: is damaged or cut short (its index, moov, is missing, which recorders write "
            "last); copy it again, or repair it with untrunc for example"
        )
    return ImageError(f"{path}: is damaged or cut short ({cut_off(path) or plain_reason(error)})")


def is_encrypted(path: Path) -> bool:
    """Whether the index of an MP4 says that its film is encrypted (ISO/IEC 23001-7)."""
    with path.open("rb") as file:
        for kind, start, size in _boxes(file, path.stat().st_size):
            if kind == b"moov":
                file.seek(start)
                index = file.read(min(size, _HEAD))
                return b"encv" in index or b"sinf" in index
    return False


def _has_index(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        return any(
            kind in (b"moov", b"moof") and start + length <= size
            for kind, start, length in _boxes(file, size)
        )


def cut_off(path: Path) -> str | None:
    """Why a file is known to be cut off, by the sizes that it gives itself; None if it is not.

    MP4, AVI and Matroska say how long their parts are. Other formats do not.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        if start[4:8] in _BRANDS:
            ends = [begin + length for _, begin, length in _boxes(file, size)]
        elif start[:4] == b"RIFF":
            ends = [8 + int.from_bytes(start[4:8], "little")]
        elif start[:4] == b"\x1aE\xdf\xa3":
            ends = [_segment_end(file)]
        else:
            return None
    missing = max(ends, default=0) - size
    return f"its last {missing} bytes are missing" if missing > 0 else None


def _boxes(file: IO[bytes], size: int) -> Generator[tuple[bytes, int, int]]:
    """The boxes of an MP4 on the highest level: kind, place and length (ISO/IEC 14496-12, 4.2)."""
    at = 0
    for _ in range(_WALKED):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        elif length == 0:  # to the end of the file
            length = size - at
        if length < 8:
            return
        yield kind, at, length
        at += length


def _segment_end(file: IO[bytes]) -> int:
    """Where the segment of a Matroska file ends; 0 if it does not say (RFC 8794, section 6)."""
    file.seek(4)
    _, length = _number(file)
    file.seek(length, 1)
    if file.read(4) != b"\x18S\x80g":
        return 0
    width, length = _number(file)
    if not width or length == (1 << 7 * width) - 1:  # of unknown size: a live recording
        return 0
    return file.tell() + length


def _number(file: IO[bytes]) -> tuple[int, int]:
    """A number of variable length: its bytes and its value; 0 bytes if there is none."""
    first = file.read(1)
    if not first or first == b"\0":
        return 0, 0
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    return width, int.from_bytes(first + rest, "big") & ((1 << 7 * width) - 1)
