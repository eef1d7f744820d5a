"""What does reading the frames of a film cost?

Question: how many frames does a second of one processor read from films of some kinds and sizes,
how many does it decode alone (which is what resuming at a frame costs for each frame before it),
and does memory grow with the number of frames?

Method: films drawn here, a pattern that moves over a soft background, coded by H.264, VP9 and AV1
at 480, 1080 and 2160 rows, 60 frames each, 12 of the largest. Each is read in a fresh process by
`open_frames` on one thread; then by `since` from its last frame, which decodes all and converts
one. Memory: a film of 100,000 frames of 32 x 32 pixels, whose resident memory is looked at after
frame 1,000 and at the end.

Printed: frames for each second of the processor of both, and megabytes that the process grew by
after the first frames.

    python benchmarks/frames.py [--long 100000]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
from _common import arguments, is_child, print_heading, print_results, resident, run_child

CODECS = {"H.264": "libx264", "VP9": "libvpx-vp9", "AV1": "libsvtav1"}
SIZES = ((480, 854), (1080, 1920), (2160, 3840))
FRAMES = 60


def draw(path: Path, codec: str, size: tuple[int, int], count: int) -> None:
    """A film of a moving pattern."""
    height, width = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    soft = np.stack([x / width, y / height, 1 - x / width], -1) * 160
    rng = np.random.default_rng(0)
    pattern = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    options = {"cpu-used": "8", "deadline": "realtime"} if codec == "libvpx-vp9" else {}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"preset": "8"} if "svt" in codec else (
            options or {"preset": "ultrafast"}))  # fmt: skip
        stream.height, stream.width = height - height % 2, width - width % 2
        stream.pix_fmt = "yuv420p"
        for i in range(count):
            frame = soft.astype(np.uint8)
            left = (i * 4) % (width - width // 4)
            frame[height // 3 : height // 3 + height // 4, left : left + width // 4] = pattern
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())


def read(path: str) -> dict[str, Any]:
    """Seconds of reading all frames, and of reading the last one only."""
    from regiontree.frames import open_frames

    clip = open_frames(path)
    start = time.process_time()
    count = sum(1 for _ in clip)
    all_of_them = time.process_time() - start
    start = time.process_time()
    assert len(list(clip.since(count - 1))) == 1
    return {"count": count, "all": all_of_them, "last": time.process_time() - start}


def grow(path: str) -> dict[str, Any]:
    """Megabytes that the process grows by after its first 1,000 frames."""
    from regiontree.frames import open_frames

    start, early, count = time.process_time(), 0, 0
    for frame in open_frames(path):
        count = frame.index + 1
        if count == 1000:
            early = resident()
    return {
        "count": count,
        "all": time.process_time() - start,
        "grown": (resident() - early) / 1e6,
    }


TASKS = {"read": read, "grow": grow}


def main() -> None:
    if is_child(TASKS):
        return
    options = arguments(__doc__)
    options.add_argument("--long", type=int, default=100_000, help="frames of the long film")
    given = options.parse_args()
    print_heading("frames.py")
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for title, codec in CODECS.items():
            for size in SIZES:
                path = Path(folder, "film.mkv")
                draw(path, codec, size, FRAMES if size[0] < 2160 else FRAMES // 5)
                found = run_child(__file__, "read", path=str(path))
                rates = [found["count"] / found[which] for which in ("all", "last")]
                rows.append([title, size[0], found["count"], *rates, None])
        path = Path(folder, "long.mkv")
        draw(path, "libx264", (32, 32), given.long)
        found = run_child(__file__, "grow", path=str(path))
        rate = found["count"] / found["all"]
        rows.append(["H.264", 32, found["count"], rate, None, found["grown"]])
    print_results("frames", rows, given.csv)


if __name__ == "__main__":
    main()
