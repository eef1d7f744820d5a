"""How far apart are cuts and motion?

Question: how wide are the steps of `Shots` at cuts and within clips, and do its thresholds (a step
of 0.3, and 2.5 times the median of the neighbourhood) lie between them?

Method: four clips of 50 frames (`../shared/video`: a slow swan, a fast dancer, a fast bicycle, a
car's ride), also with every second, fifth and tenth frame only. Within clips: all frames but the
first, of each clip, also with one white frame in its middle and with brightness that grows by 3 of
255 a frame. At joints: each clip after each other one. `Shots` runs over each film; steps and
ratios are computed anew from the distances of all frames.

Printed: for each kind of film and each choice of frames, the number of steps, their extremes
(within clips the greatest count, at joints the least), and how many cuts were missed or are false.

    python benchmarks/shots.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
from _common import arguments, data_folder, print_heading, print_results
from numpy.typing import NDArray

from regiontree.frames import Frame, Shots, open_frames
from regiontree.frames.shots import look, look_distance
from regiontree.images import LoadedImage

CLIPS = ("blackswan", "dance-twirl", "bmx-trees", "camvid-0016E5")
EVERY = (1, 2, 5, 10)
NEAR, AROUND = 3, 4

Rgb = NDArray[np.uint8]


def steps(film: Sequence[Rgb]) -> list[tuple[float, float]]:
    """For each frame but the first: its step, and the ratio to the median of its neighbourhood."""
    looks, count = [look(rgb) for rgb in film], len(film)
    between = [look_distance(one, other) for one, other in zip(looks, looks[1:], strict=False)]
    found = []
    for i in range(1, count):
        step = min(
            look_distance(before, after)
            for before in looks[max(0, i - NEAR) : i]
            for after in looks[i : i + NEAR]
        )
        around = between[max(0, i - 1 - AROUND) : i - 1] + between[i : i + AROUND]
        found.append((step, step / max(float(np.median(around)), 1e-9)))
    return found


def starts(film: Sequence[Rgb]) -> list[int]:
    """The frames that `Shots` says begin a shot."""
    shots, found = Shots(), []
    for i, rgb in enumerate(film):
        found += shots.add(Frame(i, "", None, LoadedImage(rgb, rgb.shape[:2], None, "")))
    return found + shots.end()


def flashed(film: Sequence[Rgb]) -> list[Rgb]:
    middle = len(film) // 2
    return [np.full_like(rgb, 255) if i == middle else rgb for i, rgb in enumerate(film)]


def brightened(film: Sequence[Rgb]) -> list[Rgb]:
    start = 3 * len(film) // 2
    return [
        np.clip(rgb.astype(int) + 3 * i - start, 0, 255).astype(np.uint8)
        for i, rgb in enumerate(film)
    ]


def rows(clips: dict[str, list[Rgb]]) -> Iterator[list[object]]:
    for every in EVERY:
        films = {name: film[::every] for name, film in clips.items()}
        for kind, change in (("clips", list), ("one white frame", flashed),
                             ("growing brightness", brightened)):  # fmt: skip
            changed = [change(film) for film in films.values()]
            found = [step for film in changed for step in steps(film)]
            false = sum(len(starts(film)) - 1 for film in changed)
            wide, ratio = (max(step[i] for step in found) for i in (0, 1))
            yield [kind, every, len(found), wide, ratio, 0, false]
        joints, missed, false = [], 0, 0
        for one, other in permutations(films, 2):
            film, place = [*films[one], *films[other]], len(films[one])
            joints.append(steps(film)[place - 1])
            told = set(starts(film)) - {0}
            missed += place not in told
            false += len(told - {place})
        wide, ratio = (min(step[i] for step in joints) for i in (0, 1))
        yield ["joints", every, len(joints), wide, ratio, missed, false]


def main() -> None:
    given = arguments(__doc__).parse_args()
    folder = data_folder().parent / "video"
    if not folder.is_dir():
        raise SystemExit(f"no clips in {folder}")
    print_heading("shots.py")
    clips = {
        name: [frame.image.rgb for frame in open_frames(folder / name / "frames")] for name in CLIPS
    }
    print_results("shots", rows(clips), given.csv)


if __name__ == "__main__":
    main()
