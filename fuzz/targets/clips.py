"""Clips: films through FFmpeg, animations, stacks of pages and of slices, by ``open_frames``.

FFmpeg is written in C. If hostile bytes crash it, the process ends, and no exception can say so.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from fractions import Fraction
from itertools import islice

import numpy as np
from PIL import Image

from fuzz.containers import change_png, change_tiff
from fuzz.target import Box, Target
from fuzz.targets.images import MOST, photo, tiff
from regiontree.frames import open_frames

__all__ = ["TARGETS"]

_READ = 40  # frames of a case that are looked at; a damaged header can claim any number


def _pictures() -> list[np.ndarray]:
    return [np.roll(photo(16, 24), shift, axis=1) for shift in range(5)]


def _film(form: str, codec: str, pixels: str = "yuv420p", **container: str) -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=form, container_options=container) as out:
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 24, pixels
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(_pictures()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()


def _film_seeds() -> list[bytes]:
    return [
        _film("mp4", "libx264", movflags="frag_keyframe+empty_moov"), _film("mp4", "mpeg4"),
        _film("mov", "png", "rgba"), _film("matroska", "ffv1"), _film("webm", "libvpx-vp9"),
        _film("avi", "mjpeg", "yuvj420p"), _film("mpegts", "mpeg2video"),
    ]  # fmt: skip


def _animation(form: str) -> bytes:
    first, *others = [Image.fromarray(picture) for picture in _pictures()]
    file = io.BytesIO()
    first.save(file, form, save_all=True, append_images=others, duration=[40, 80, 120, 40, 40])
    return file.getvalue()


def _animation_seeds() -> list[bytes]:
    return [_animation("GIF"), _animation("PNG"), _animation("WEBP")]


def _stack_seeds() -> list[bytes]:
    deep = np.stack([picture[..., 0].astype(np.uint16) * 40 for picture in _pictures()])
    return [
        tiff(np.stack(_pictures()), photometric="rgb"),
        tiff(deep, photometric="minisblack"),
        tiff(deep, imagej=True, metadata={"axes": "TYX"}),
    ]


def _reader(suffix: str) -> Callable[[Box, bytes], None]:
    def run(box: Box, data: bytes) -> None:
        path = box.write(f"case{suffix}", data)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*case.*", RuntimeWarning)  # damage that is said
            clip = open_frames(path, max_pixels=MOST)
            frames = list(islice(clip, _READ))
        assert frames, "a clip without a frame is an error"
        for index, frame in enumerate(frames):
            image = frame.image
            assert frame.index == index
            assert image.rgb.dtype == np.uint8
            assert image.rgb.shape == (*image.size, 3)
            assert image.size == clip.size
            assert image.rgb.shape[0] * image.rgb.shape[1] <= MOST
            assert image.valid is None or image.valid.shape == image.size
            assert frame.time is None or np.isfinite(frame.time)
        json.dumps(clip.facts, allow_nan=False)

    return run


TARGETS = (
    Target("clips.films", _reader(".film"), _film_seeds, share=3),
    Target("clips.animations", _reader(".img"), _animation_seeds, (change_png,)),
    Target("clips.stacks", _reader(".tif"), _stack_seeds, (change_tiff,) * 2),
)
