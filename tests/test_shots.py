"""Where films are cut: drawn scenes, real clips, and the definition on whole films."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import SettingsError
from regiontree.frames import Frame, Shots, open_frames
from regiontree.frames.shots import look, look_distance
from regiontree.images import LoadedImage

Rgb = NDArray[np.uint8]
VIDEO = Path(os.environ.get("REGIONTREE_DATA") or Path(__file__).parents[2] / "shared/data").parent
CLIPS = ("blackswan", "dance-twirl", "bmx-trees", "camvid-0016E5")


def starts(film: Iterable[Rgb], shots: Shots | None = None) -> list[int]:
    shots = shots or Shots()
    found: list[int] = []
    for i, rgb in enumerate(film):
        image = LoadedImage(rgb, rgb.shape[:2], None, "")
        told = shots.add(Frame(i, str(i), None, image))
        assert all(index in (0, i - shots.delay) for index in told)  # late by `delay`, not more
        found += told
    return found + shots.end()


def pan(seed: int, count: int = 16, speed: int = 6) -> list[Rgb]:
    """A scene that a camera moves over fast, with a thing that moves against it."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (12, 80, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(blocks).resize((960, 96), Image.Resampling.BICUBIC))
    film = []
    for i in range(count):
        frame = wide[:, i * speed : i * speed + 128].copy()
        x = 100 - 5 * i
        frame[40:70, max(0, x) : max(0, x + 24)] = seed * 40 % 256
        film.append(frame)
    return film


def test_exactly_the_joints_of_scenes_are_found() -> None:
    film = [frame for seed in range(5) for frame in pan(seed)]
    assert starts(film) == [0, 16, 32, 48, 64]


@pytest.mark.parametrize("speed", [1, 6, 12])
def test_fast_motion_is_no_cut(speed: int) -> None:
    assert starts(pan(1, 40, speed)) == [0]


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("level", [0, 255])
def test_a_flash_is_no_cut(length: int, level: int) -> None:
    film = pan(2, 30)
    for i in range(12, 12 + length):
        film[i] = np.full_like(film[i], level)
    assert starts(film) == [0]


def test_a_slow_change_of_brightness_is_no_cut() -> None:
    film = pan(3, 40)
    for i, frame in enumerate(film):
        film[i] = np.clip(frame * (0.3 + 0.03 * i), 0, 255).astype(np.uint8)
    assert starts(film) == [0]
    grey = [np.full((32, 32, 3), 5 * i, np.uint8) for i in range(50)]
    assert starts(grey) == [0]


def test_a_cut_over_a_frame_that_blends_both_scenes_is_one_cut() -> None:
    one, other = pan(4), pan(5)
    blend = ((one[-1].astype(int) + other[0]) // 2).astype(np.uint8)
    found = starts([*one, blend, *other])
    assert found in ([0, 16], [0, 17])


def test_black_frames_between_scenes_are_one_cut() -> None:
    black = [np.zeros_like(pan(6)[0])] * 2
    found = starts([*pan(6), *black, *pan(7)])
    assert found in ([0, 16], [0, 18])


def test_scenes_of_the_same_colours_are_told_apart_by_their_layout() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    order = rng.permutation(256)
    other = colours.reshape(-1, 3)[order].reshape(16, 16, 3)
    scenes = [np.repeat(np.repeat(scene, 6, 0), 6, 1) for scene in (colours, other)]
    step = look_distance(look(scenes[0]), look(scenes[1]))
    assert abs(look(scenes[0]).colours - look(scenes[1]).colours).sum() < 1e-3
    assert step > 0.25
    assert starts([scenes[0]] * 8 + [scenes[1]] * 8) == [0, 8]


def test_a_cut_near_the_ends_of_a_film_is_found() -> None:
    one, other = pan(8), pan(9)
    assert starts([*one[:3], *other]) == [0, 3]
    assert starts([*one, *other[:3]]) == [0, 16]
    assert starts([one[0], other[0]]) == [0, 1]
    assert starts([one[0]]) == [0]
    assert starts([]) == []


def test_a_slow_dissolve_is_not_found() -> None:
    one, other = np.stack([pan(10)[0], pan(11)[0]]).astype(float)
    fade = [(one + (other - one) * i / 30).astype(np.uint8) for i in range(31)]
    film = [fade[0]] * 8 + fade + [fade[-1]] * 8
    assert starts(film) == [0]  # docs/images.md says so


def by_definition(film: Sequence[Rgb], least_step: float, least_ratio: float) -> list[int]:
    """What the module's first docstring says, over a whole film at once."""
    looks, count = [look(rgb) for rgb in film], len(film)
    between = np.array([[look_distance(a, b) for b in looks] for a in looks])
    steps = [np.inf] + [
        between[max(0, i - 3) : i, i : i + 3].min() for i in range(1, count)
    ]  # fmt: skip
    found = [0]
    for i in range(1, count):
        near = [j for j in range(max(1, i - 2), min(count, i + 3)) if j != i]
        around = [j for j in range(max(1, i - 4), min(count, i + 5)) if j != i]
        usual = np.median([between[j - 1, j] for j in around]) if around else 0
        is_widest = all(steps[i] > steps[j] or (j > i and steps[i] == steps[j]) for j in near)
        if is_widest and steps[i] >= least_step and steps[i] >= least_ratio * usual:
            found.append(i)
    return found


def test_one_pass_finds_what_the_definition_finds() -> None:
    rng = np.random.default_rng(0)
    told = 0
    for seed in range(30):
        scene, film = pan(seed, 8), []
        for _ in range(rng.integers(1, 40)):
            if rng.random() < 0.25:
                scene = pan(int(rng.integers(100)), 8)
            film.append(scene[rng.integers(8)])
        step, ratio = rng.uniform(0.05, 0.6), rng.uniform(1, 3)
        expected = by_definition(film, step, ratio)
        assert starts(film, Shots(step, ratio)) == expected
        told += len(expected) - 1
    assert told > 20


def test_memory_is_that_of_a_few_frames() -> None:
    shots = Shots()
    for i, rgb in enumerate(pan(1, 60, 2)):
        shots.add(Frame(i, "", None, LoadedImage(rgb, rgb.shape[:2], None, "")))
        assert len(shots._window) <= 2 * shots.delay + 1


def test_frames_are_named_by_their_index_and_come_in_order() -> None:
    film = np.stack([*pan(1), *pan(2)])
    shots, found = Shots(), []
    for frame in open_frames(film).since(10):
        found += shots.add(frame)
    assert found + shots.end() == [10, 16]
    frames = list(open_frames(film[:2]))
    shots.add(frames[1])
    with pytest.raises(SettingsError, match="in their order, got 0 after 1"):
        shots.add(frames[0])
    for wrong in ({"least_step": 0}, {"least_ratio": 0.5}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            Shots(**wrong)


# -- real clips -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips() -> dict[str, list[Rgb]]:
    folder = VIDEO / "video"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    found = {}
    for name in CLIPS:
        frames = open_frames(folder / name / "frames")
        found[name] = [np.asarray(Image.fromarray(frame.image.rgb).reduce(4)) for frame in frames]
    return found


@pytest.mark.parametrize("every", [1, 2, 5])
def test_no_cut_is_found_within_a_real_clip(clips: dict[str, list[Rgb]], every: int) -> None:
    for name, film in clips.items():
        assert starts(film[::every]) == [0], name


@pytest.mark.parametrize("every", [1, 2, 5])
def test_exactly_the_joints_of_real_clips_are_found(
    clips: dict[str, list[Rgb]], every: int
) -> None:
    for one, other in permutations(CLIPS, 2):
        first, second = clips[one][::every], clips[other][::every]
        assert starts([*first, *second]) == [0, len(first)], (one, other)


def test_a_flash_and_a_change_of_brightness_in_a_real_clip_are_no_cuts(
    clips: dict[str, list[Rgb]],
) -> None:
    for film in clips.values():
        flash = [np.full_like(film[0], 255) if i == 20 else frame for i, frame in enumerate(film)]
        assert starts(flash) == [0]
        drift = [
            np.clip(frame.astype(int) + 3 * i - 75, 0, 255).astype(np.uint8)
            for i, frame in enumerate(film)
        ]
        assert starts(drift) == [0]
