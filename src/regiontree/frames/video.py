"""Films by PyAV: MP4, MOV, MKV, WebM, AVI and what else FFmpeg reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiontree.errors import ImageError
from regiontree.frames.clip import CutShort
from regiontree.frames.colours import Conversion, facts_of, shown_size
from regiontree.frames.container import cut_off, is_encrypted, opened, require_av
from regiontree.frames.selection import Raw
from regiontree.images.readers import check_pixels

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["VideoReader", "file_digest"]

# The decoders of Google's library show the opacity of a film; those of FFmpeg leave it out.
_SHORT = 3  # frames that may be missing at the end of a film by the times that it names
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class VideoReader:
    """The frames of a film: a :class:`~regiontree.frames.clip.Reader`.

    Decoding runs in the caller's thread alone. So it leaves no thread behind, damaged frames come
    out the same each time, and it is still faster than any network that looks at its frames.

    Raises
    ------
    ImageError
        The file is no film that can be read, or its first frame is damaged.
    MissingExtraError
        PyAV is not installed.
    """

    one = "frame"
    timed = True

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.name, self.title = path.name, str(path)
        self._path, self._max_pixels = path, max_pixels
        with opened(path) as (container, stream):
            self._aspect = float(stream.sample_aspect_ratio or 1)
            check_pixels(self.title, (stream.height, stream.width), max_pixels)
            self.facts = _stream_facts(container, stream)
            first = next(iter(_Decoding(container, stream, path, max_pixels).frames()), None)
            if first is None:
                raise ImageError(f"{path}: {self._without_frames()}")
            self.size: tuple[int, int] | None = shown_size(first, self._aspect)
            check_pixels(self.title, self.size, max_pixels)
            self.count: int | None = stream.frames or None
            colours = facts_of(first)
            self.facts |= colours
            self.facts["notes"] = colours.get("notes", [])
        self._note_shape()

    def digest(self) -> str:
        return file_digest(self._path)

    def raws(self, kept: ExitStack) -> Iterator[Raw]:
        conversion = Conversion(self._aspect, self._max_pixels)
        container, stream = kept.enter_context(opened(self._path))
        decoding = _Decoding(container, stream, self._path, self._max_pixels)
        for number, frame in enumerate(decoding.frames()):
            yield Raw(number, decoding.time_of(frame, number), partial(conversion.image, frame))
        if reason := decoding.damage(self.count):
            raise CutShort(reason)

    def _without_frames(self) -> str:
        if is_encrypted(self._path):
            return "is encrypted; decrypt it first"
        cut = cut_off(self._path)
        return f"is damaged or cut short ({cut or 'no frame can be decoded'})"

    def _note_shape(self) -> None:
        notes = self.facts["notes"]
        if self._aspect != 1:
            notes.append("has pixels that are not square; it is shown as wide as people see it")
        if "display_matrix" in self.facts:
            notes.append("is turned as the file says")
        if not notes:
            del self.facts["notes"]


class _Decoding:
    """One pass over a film. It goes on after what cannot be decoded, and counts it."""

    def __init__(
        self, container: InputContainer, stream: VideoStream, path: Path, max_pixels: int
    ) -> None:
        self._errors = require_av().error.FFmpegError
        self._container, self._stream, self._path = container, stream, path
        self._decoder = _decoder(stream)
        self._decoder.options = {"max_pixels": str(max_pixels)}
        self._decoder.thread_count = 1
        self._start: int | None = None
        self._end = 0.0
        self._read = self._lost = self._corrupt = 0
        self._stopped: Exception | None = None

    def frames(self) -> Iterator[VideoFrame]:
        for packet in self._packets():
            try:
                frames = self._decoder.decode(packet)
            except self._errors:
                self._lost += 1
                continue
            for frame in frames:
                self._read += 1
                self._corrupt += bool(frame.is_corrupt)
                yield frame

    def time_of(self, frame: VideoFrame, number: int) -> float:
        """Seconds since the first frame."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        base = frame.time_base or self._stream.time_base
        if stamp is None or base is None:  # a stream without a container
            return number / float(self._stream.average_rate or 25)
        if self._start is None:
            self._start = stamp
        time = float((stamp - self._start) * base)
        # Some files count their length from time 0, others from their first frame.
        last = max(time, float(stamp * base)) + float((frame.duration or 0) * base)
        self._end = max(self._end, last)
        return time

    def damage(self, declared: int | None) -> str | None:
        """What was wrong with the film, after all of its frames; None if nothing was."""
        if cut := cut_off(self._path):
            return cut
        if self._stopped is not None:
            return "the file ends within a frame"
        said = []
        if self._lost:
            said.append(f"{_count(self._lost, 'packet')} cannot be decoded")
        if self._corrupt:
            said.append(f"incomplete: {_count(self._corrupt, 'frame')}")
        if said and declared is not None and declared > self._read:
            said.append(f"{declared} frames were announced")
        seconds = _seconds(self._container, self._stream)
        if seconds is not None and seconds - self._end > _SHORT / (self._stream.average_rate or 1):
            said.append(f"it ends after {self._end:.3g} of {seconds:.3g} seconds")
        return ", ".join(said) or None

    def _packets(self) -> Iterator[Packet[Any] | None]:
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet
        except self._errors as error:
            self._stopped = error
        yield None  # the decoder gives what it holds back


def _count(number: int, one: str) -> str:
    return f"1 {one}" if number == 1 else f"{number} {one}s"


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the film lasts by its file; None if it does not say, or says it of sound, too."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    said = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if said:
        hours, minutes, seconds = (float(part) for part in said.groups())
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) == 1 and container.duration:
        return container.duration / 1e6
    return None


def _decoder(stream: VideoStream) -> Any:
    context = stream.codec_context
    name = _WITH_ALPHA.get(context.codec.name.removeprefix("lib"))
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return context
    av = require_av()
    try:
        other = av.CodecContext.create(name, "r")
    except av.error.FFmpegError:  # this FFmpeg was built without the library
        return context
    other.extradata = context.extradata
    return other


def _stream_facts(container: InputContainer, stream: VideoStream) -> dict[str, Any]:
    context = stream.codec_context
    facts: dict[str, Any] = {
        "kind": "film",
        "container": container.format.name,
        "codec": context.codec.canonical_name,
        "stored_size": [stream.height, stream.width],
    }
    if stream.average_rate:
        facts["rate"] = float(stream.average_rate)
    if stream.time_base:
        facts["time_base"] = str(stream.time_base)
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        facts["pixel_aspect"] = str(aspect)
    if (seconds := _seconds(container, stream)) is not None:
        facts["seconds"] = seconds
    if stream.frames:
        facts["frames"] = stream.frames
    return facts


def file_digest(path: Path) -> str:
    """sha256 of a file.

    Raises
    ------
    ImageError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
