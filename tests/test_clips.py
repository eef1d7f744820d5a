"""From a clip to its tree, with a network of colours, on drawn films."""

from __future__ import annotations

import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import regiontree
from regiontree.clips import ClipParser, ClipSettings, parse_clip
from regiontree.clips import parser as parser_module
from regiontree.clips.spool import Spool
from regiontree.errors import ImageError, SettingsError
from regiontree.frames import open_frames
from regiontree.parser import RegionParser
from regiontree.tree import ClipTree, RegionTree, StopReason

PATCH = 8


class Colours:
    """A network whose features are the mean colour of each patch, and a constant."""

    digest, dim, patch, name = "1", 4, PATCH, "colours"
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        self.seen = 0

    def features(self, pixels):
        self.seen += len(pixels)
        means = torch.nn.functional.avg_pool2d(pixels, PATCH).permute(0, 2, 3, 1)
        return torch.cat([means, torch.full_like(means[..., :1], 0.3)], dim=3)


def film(n=10, size=(64, 96), speed=4, noise=3, seed=0):
    """Frames in which a red square moves over green and blue halves, and where the square is."""
    rng = np.random.default_rng(seed)
    h, w = size
    frames, masks = [], []
    for t in range(n):
        frame = np.zeros((h, w, 3))
        frame[: h // 2], frame[h // 2 :] = (40, 160, 60), (50, 60, 200)
        left = 8 + speed * t
        mask = np.zeros((h, w), bool)
        mask[16:48, left : left + 24] = True
        frame[mask] = (220, 40, 30)
        frame += rng.normal(scale=noise, size=frame.shape)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


def parser(**changes):
    given = {"size": (64, 96), "parts": 20, **changes}
    return RegionParser(backbone=Colours(), stability=0, **given)


def best_iou(tree, mask):
    found = [tree.mask(node) for node in range(tree.n_nodes)]
    return max((m & mask).sum() / (m | mask).sum() for m in found)


@pytest.fixture(scope="module")
def moving():
    return film()


@pytest.fixture(scope="module")
def tree(moving):
    return ClipParser(parser()).parse(open_frames(moving[0]))


# -- one tree of all frames -----------------------------------------------------------------------


def test_a_thing_that_moves_is_one_tube(tree, moving):
    assert tree.shape == (10, 64, 96)
    assert best_iou(tree, moving[1]) > 0.95


def test_the_leaves_partition_every_frame(tree):
    assert sum(tree.mask(leaf).astype(int) for leaf in range(tree.n_leaves)).tolist() == (
        np.ones(tree.shape, int).tolist()
    )


def test_a_clip_of_one_frame_has_the_tree_of_the_photograph(moving):
    own = parser()
    photo = own.parse(moving[0][0])
    clip = ClipParser(own).parse(open_frames(moving[0][:1]))
    assert np.array_equal(clip.frame_labels(0), photo.labels)
    assert np.array_equal(clip.parents, photo.parents)
    assert np.array_equal(clip.height, photo.height)
    assert np.array_equal(clip.embedding, photo.embedding)


def test_the_same_clip_gives_the_same_tree(tree, moving):
    assert ClipParser(parser()).parse(open_frames(moving[0])) == tree


def test_the_tree_records_how_it_was_made(tree):
    assert tree.meta["clip"]["shots"] == [0]
    assert tree.meta["clip"]["settings"] == {
        "window": 48, "overlap": 8, "density": 2.0, "still": 0.0, "steady": 4.0,
    }  # fmt: skip
    assert tree.meta["backbone"]["name"] == "colours"
    assert tree.meta["settings"]["parts"] == 20


@pytest.mark.parametrize("window", [{"window": 4, "overlap": 2}, {"window": 3, "overlap": 1}])
def test_tubes_go_on_from_window_to_window(moving, window):
    tree = ClipParser(parser(), clip=window).parse(open_frames(moving[0]))
    assert tree.shape == (10, 64, 96)
    assert best_iou(tree, moving[1]) > 0.9
    regions = tree.cut(n_regions=3)
    # The square has one number in all frames.
    inside = {int(np.bincount(regions[t][moving[1][t]]).argmax()) for t in range(10)}
    assert len(inside) == 1


def test_a_window_begins_every_so_many_frames_and_shares_some(monkeypatch):
    seen = []
    made = parser_module.group_window

    def group_window(frames, rows, count, *given):
        seen.append((len(frames), count))
        return made(frames, rows, count, *given)

    monkeypatch.setattr(parser_module, "group_window", group_window)
    frames, _ = film(n=16, speed=1)
    work = ClipParser(parser(), clip={"window": 6, "overlap": 2})
    windows = list(work.windows(open_frames(frames)))
    # Frames 0-7, 6-13 and 12-15 are grouped; a window has twice the 20 parts of a photograph.
    assert seen == [(8, 40), (8, 40), (4, 40)]
    assert [window.first for window in windows] == [0, 7, 13]
    assert [len(window.maps) for window in windows] == [7, 6, 3]


def test_parse_clip_is_the_parser_on_open_frames(moving):
    options = {"size": (64, 96), "parts": 20, "stability": 0}
    a = parse_clip(moving[0], every=2, backbone=Colours(), clip={"steady": 0}, **options)
    b = ClipParser(parser(), clip=ClipSettings(steady=0)).parse(open_frames(moving[0][::2]))
    assert a.n_frames == 5
    assert np.array_equal(a.labels, b.labels)
    assert regiontree.parse_clip is parse_clip


# -- steadiness, still frames, cuts ---------------------------------------------------------------


def boiling(tree, k=4):
    regions = tree.cut(n_regions=k)
    return (regions[1:] != regions[:-1]).mean()


def test_borders_do_not_boil_where_nothing_moves():
    frames, _ = film(n=8, speed=0, noise=12)
    drawn = ClipParser(parser(), clip={"steady": 0}).parse(open_frames(frames))
    held = ClipParser(parser(), clip={"steady": 40}).parse(open_frames(frames))
    assert boiling(held) == 0
    assert boiling(drawn) > 0


def test_still_frames_are_not_shown_to_the_network():
    frames, _ = film(n=12, speed=0, noise=0)
    frames[6:] = film(n=6, speed=8, noise=0)[0]
    every, some = Colours(), Colours()
    options = {"size": (64, 96), "parts": 20, "stability": 0}
    whole = parse_clip(frames, backbone=every, **options)
    saved = parse_clip(frames, backbone=some, clip={"still": 0.5}, **options)
    assert every.seen == 12
    assert some.seen == 6  # the first, and those that move
    assert np.array_equal(whole.labels, saved.labels)


def cut_film():
    one, _ = film(n=14)
    other = 255 - film(n=12, seed=1)[0]
    return np.concatenate([one, other])


def test_a_cut_in_the_film_parts_the_tubes():
    tree = ClipParser(parser()).parse(open_frames(cut_film()))
    assert tree.meta["clip"]["shots"] == [0, 14]
    for leaf in range(tree.n_leaves):
        first, last = tree.span(leaf)
        assert last < 14 or first >= 14


def test_what_looks_alike_before_and_after_a_cut_is_one_region():
    one, square = film(n=10)
    other = np.full((10, 64, 96, 3), (250, 250, 120), np.uint8)
    tree = ClipParser(parser()).parse(open_frames(np.concatenate([one, other, one])))
    assert tree.meta["clip"]["shots"] == [0, 10, 20]
    regions = tree.cut(n_regions=4)
    first, last = (
        np.bincount(regions[part][square]).argmax() for part in (slice(10), slice(20, 30))
    )
    assert first == last
    assert best_iou(tree, np.concatenate([square, np.zeros_like(square), square])) > 0.9


# -- what has no data -----------------------------------------------------------------------------


def test_pixels_without_data_are_a_leaf_of_their_own(moving, tmp_path):
    for t, frame in enumerate(moving[0][:4]):
        alpha = np.full((64, 96), 255, np.uint8)
        alpha[:, : 24 + 8 * t] = 0
        picture = np.dstack([frame, alpha])
        Image.fromarray(picture).save(tmp_path / f"{t}.png")
    tree = ClipParser(parser()).parse(open_frames(tmp_path))
    (absent,) = np.flatnonzero(tree.stop == StopReason.NO_DATA)
    for t in range(4):
        wanted = np.zeros((64, 96), bool)
        wanted[:, : 24 + 8 * t] = True
        assert np.array_equal(tree.mask(absent, frame=t), wanted)


def test_frames_may_be_empty_and_so_may_all(tmp_path, moving):
    for t in range(3):
        alpha = np.full((64, 96), 0 if t == 1 else 255, np.uint8)
        Image.fromarray(np.dstack([moving[0][t], alpha])).save(tmp_path / f"{t}.png")
    tree = ClipParser(parser()).parse(open_frames(tmp_path))
    (absent,) = np.flatnonzero(tree.stop == StopReason.NO_DATA)
    assert tree.mask(absent).mean(axis=(1, 2)).tolist() == [0, 1, 0]
    for t in range(3):
        Image.fromarray(np.zeros((64, 96, 4), np.uint8)).save(tmp_path / f"{t}.png")
    nothing = ClipParser(parser()).parse(open_frames(tmp_path))
    assert nothing.n_nodes == 1
    assert nothing.stop.tolist() == [StopReason.NO_DATA]


def test_a_frame_of_one_colour_is_a_frame_like_others(moving):
    frames = moving[0][:5].copy()
    frames[2] = 0
    tree = ClipParser(parser()).parse(open_frames(frames))
    assert len(np.unique(tree.cut_frame(2, n_regions=4))) == 1
    black = ClipParser(parser()).parse(open_frames(np.zeros_like(frames)))
    assert black.n_nodes == 1


# -- sets of photographs --------------------------------------------------------------------------


def test_photographs_of_different_sizes_share_one_tree(moving):
    photos = [moving[0][0], np.ascontiguousarray(moving[0][3][:, :64]), moving[0][5][::2, ::2]]
    own = RegionParser(backbone=Colours(), size=96, parts=20, stability=0, smooth=0)
    tree = ClipParser(own).parse(open_frames(photos, joint=True))
    assert tree.sizes == [(64, 96), (64, 64), (32, 48)]
    red = [tree.cut_frame(t, n_regions=3) for t in range(3)]
    squares = [moving[1][0], moving[1][3][:, :64], moving[1][5][::2, ::2]]
    numbers = {int(np.bincount(own[mask]).argmax()) for own, mask in zip(red, squares, strict=True)}
    assert len(numbers) == 1  # the red square has one number in all photographs


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ClipSettings(window=1), "window"),
        (lambda: ClipSettings(window=8, overlap=8), "overlap must be below window"),
        (lambda: ClipParser(parser(), clip={"density": 0}), "density"),
        (lambda: ClipParser(preset="published"), "parts.method"),
        (lambda: ClipParser(tree="recursive"), "tree.builder"),
        (lambda: ClipParser(backbone="precomputed"), "precomputed"),
        (lambda: ClipParser(parser(), size=5), "leave out size"),
    ],
)
def test_settings_that_do_not_fit_a_clip_are_named(make, said):
    with pytest.raises(SettingsError, match=said):
        make()


def test_an_unknown_setting_of_a_clip_is_named():
    with pytest.raises(SettingsError, match="wimdow"):
        ClipParser(parser(), clip={"wimdow": 3})


# -- windows on disk ------------------------------------------------------------------------------


@pytest.mark.parametrize("still", [0.0, 0.5])
def test_a_run_that_stopped_goes_on_to_the_same_tree(tmp_path, still):
    frames = cut_film()
    frames[3:6] = frames[3]
    clip = {"window": 5, "overlap": 3, "still": still}
    source = open_frames(frames)
    whole = list(ClipParser(parser(), clip=clip).windows(source))
    assert len(whole) > 4
    expected = ClipParser(parser(), clip=clip).tree(source, whole)
    for stopped in range(1, len(whole)):
        spool = Spool(tmp_path / f"{stopped}.clip.npz", {"clip": stopped})
        for window in whole[:stopped]:
            spool.add(window)
        again = Spool(tmp_path / f"{stopped}.clip.npz", {"clip": stopped})
        assert again.count == stopped
        for window in ClipParser(parser(), clip=clip).windows(source, again.last):
            again.add(window)
        assert again.count == len(whole)
        assert ClipParser(parser(), clip=clip).tree(source, list(again)) == expected
        again.remove()
        assert not list(tmp_path.iterdir())


def test_a_damaged_window_is_drawn_again(tmp_path, moving):
    windows = list(ClipParser(parser(), clip={"window": 3, "overlap": 1}).windows(
        open_frames(moving[0])
    ))  # fmt: skip
    spool = Spool(tmp_path / "a.clip.npz", {})
    for window in windows:
        spool.add(window)
    file = sorted(spool.folder.glob("*.npz"))[1]
    file.write_bytes(file.read_bytes()[:200])
    assert Spool(tmp_path / "a.clip.npz", {}).count == 1
    assert Spool(tmp_path / "a.clip.npz", {"other": 1}).count == 0


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, moving):
    place = tmp_path / "frames"
    place.mkdir()
    for t, frame in enumerate(moving[0][:6]):
        Image.fromarray(frame).save(place / f"frame{t}.png")
    return place


def segment(*arguments):
    from regiontree.cli import app

    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


FAST = ("--preset", "fast", "--size", "112", "--parts", "30")


def test_segment_makes_one_tree_of_a_folder_and_does_it_once(folder, tmp_path):
    out = tmp_path / "trees"
    first = segment(folder, "--clip", "-o", out, *FAST, "--json")
    assert first.exit_code == 0, first.output
    (said,) = json.loads(first.stdout)
    assert (said["status"], said["frames"]) == ("done", 6)
    assert [path.name for path in out.iterdir()] == ["frames.clip.npz"]
    tree = ClipTree.load(out / "frames.clip.npz")
    assert tree.shape == (6, 64, 96)
    assert (
        json.loads(segment(folder, "--clip", "-o", out, *FAST, "--json").stdout)[0]["status"]
        == "skipped"
    )
    other = segment(folder, "--clip", "-o", out, *FAST, "--every", 2)
    assert other.exit_code == 2
    assert "other settings; give --overwrite" in other.stderr
    setting = segment(folder, "--clip", "-o", out, *FAST, "--set", "clip.steady=9")
    assert setting.exit_code == 2
    assert "other settings; give --overwrite" in setting.stderr
    again = segment(folder, "--clip", "-o", out, *FAST, "--every", 2, "--overwrite")
    assert again.exit_code == 0
    assert ClipTree.load(out / "frames.clip.npz").n_frames == 3
    Image.open(folder / "frame0.png").save(folder / "frame6.png")
    changed = segment(folder, "--clip", "-o", out, *FAST, "--every", 2)
    assert changed.exit_code == 2
    assert "another clip; give --overwrite" in changed.stderr


def test_segment_says_what_is_wrong_and_does_the_rest(folder, tmp_path):
    out = tmp_path / "trees"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 500)
    both = segment(broken, folder, "--clip", "-o", out, *FAST)
    assert both.exit_code == 1
    assert "broken.mp4" in both.stderr
    assert (out / "frames.clip.npz").exists()
    assert segment(broken, "-o", out, *FAST).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--every", "2"), "--every is about clips; pass --clip"),
        (("--clip", "--joint"), "contradict"),
        (("--clip", "--mask", "x.png"), "--mask is not for clips"),
        (("--clip", "--pictures"), "--pictures is not for clips"),
        (("--clip", "--set", "clip.wimdow=3"), "clip.window"),
        (("--clip", "--set", "clip.window=0"), "window"),
        (("--clip", "--tree", "recursive"), "tree.builder"),
    ],
)
def test_segment_refuses_options_that_do_not_fit(folder, tmp_path, arguments, said):
    result = segment(folder, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_film_and_a_photograph_do_not_go_together_unasked(folder, tmp_path):
    result = segment("clip.mp4", folder / "frame0.png", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "clip.mp4 is a film, and" in result.stderr
    assert "--clip" in result.stderr
    assert not (tmp_path / "out").exists()


def test_two_clips_of_one_name_are_refused(folder, tmp_path):
    other = tmp_path / "b" / "frames"
    other.parent.mkdir()
    other.symlink_to(folder)
    result = segment(folder, other, "--clip", "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 2
    assert "would both become frames.clip.npz" in result.stderr


def test_joint_takes_photographs_of_any_size(folder, tmp_path):
    Image.new("RGB", (50, 70), (200, 60, 40)).save(tmp_path / "tall.png")
    out = tmp_path / "out"
    result = segment(folder / "frame0.png", tmp_path / "tall.png", "--joint", "-o", out, *FAST)
    assert result.exit_code == 0, result.output
    tree = ClipTree.load(out / "photographs.clip.npz")
    assert tree.sizes == [(64, 96), (70, 50)]


def test_frames_of_different_sizes_are_no_clip(folder, tmp_path):
    Image.new("RGB", (50, 70)).save(folder / "frame9.png")
    with pytest.raises(ImageError, match=r"frame9\.png"):
        ClipParser(parser()).parse(open_frames(folder))


def test_other_commands_say_that_a_file_is_of_a_clip(folder, tmp_path):
    from regiontree.cli import app

    path = random_tree().save(tmp_path / "a")
    result = CliRunner().invoke(app, ["export", str(path), "--to", "coco", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "of a clip" in result.stderr


def random_tree():
    return ClipTree([[[0, 1]], [[1, 1]]], [2, 2, 2], [0, 0, 1])


def test_show_prints_the_tree_of_a_clip(tmp_path):
    from regiontree.cli import app

    path = random_tree().save(tmp_path / "a")
    result = CliRunner().invoke(app, ["show", str(path)])
    assert result.exit_code == 0, result.output
    assert "ClipTree of 2 frames of 1 x 2 pixels" in result.stdout
    assert Path(path).exists()
    assert isinstance(ClipTree.load(path).frame(0), RegionTree)


# -- memory ---------------------------------------------------------------------------------------


def test_only_a_window_of_frames_is_held(monkeypatch):
    held = []
    made = RegionParser.prepare

    def prepare(self, *given, **more):
        patches = made(self, *given, **more)
        held.append(weakref.ref(patches.unit))
        return patches

    monkeypatch.setattr(RegionParser, "prepare", prepare)
    frames, _ = film(n=40, speed=1)
    most = 0
    for _ in ClipParser(parser(), clip={"window": 5, "overlap": 2}).windows(open_frames(frames)):
        most = max(most, sum(ref() is not None for ref in held))
    assert len(held) == 40
    assert most <= 2 * 7 + 5  # the window, the one that is gathered, and frames not judged yet
