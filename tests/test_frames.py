"""Clips: frames of films, animations, stacks, series, folders, lists and arrays."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pydicom
import pytest
import tifffile
from films import MATRICES, film, flat, patches, yuv_film, yuv_of
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset

from regiontree.errors import ImageError, MissingExtraError, SettingsError
from regiontree.frames import Frame, open_frames, still
from regiontree.frames.files import gaps
from regiontree.images import load_image

COLOURS = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128),
    (200, 120, 40), (30, 180, 220),
]  # fmt: skip
Rgb = NDArray[np.uint8]


def greys(count: int, size: tuple[int, int] = (48, 64)) -> list[Rgb]:
    """Frames that are told apart by their grey: 8 * number."""
    return [flat((8 * i % 256,) * 3, size) for i in range(count)]


def numbers(frames: list[Frame]) -> list[int]:
    """The numbers of such frames, by their grey."""
    return [round(float(frame.image.rgb.mean()) / 8) for frame in frames]


def read(source: Any, **options: Any) -> list[Frame]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning of damage is none that a test overlooks
        return list(open_frames(source, **options))


def read_damaged(source: Any) -> tuple[list[Frame], dict[str, Any]]:
    clip = open_frames(source)
    with pytest.warns(RuntimeWarning, match="damaged or cut short") as said:
        frames = list(clip)
    assert str(source) in str(said[0].message)
    return frames, clip.facts


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "clip.mp4"
    return film(path, greys(20), codec="libx264", options={"qp": "1"})


# -- films ----------------------------------------------------------------------------------------


def test_frames_of_a_film_come_in_order_with_their_times_and_names(mp4: Path) -> None:
    clip = open_frames(mp4)
    frames = list(clip)
    assert (clip.name, clip.size, clip.count) == ("clip.mp4", (48, 64), 20)
    assert numbers(frames) == [frame.index for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == [i / 25 for i in range(20)]
    assert frames[12].name == frames[12].image.name == "clip.mp4#00012"
    assert frames[0].image.rgb.dtype == np.uint8
    assert frames[0].image.size == (48, 64)
    assert frames[0].image.valid is None
    facts = {key: clip.facts[key] for key in ("kind", "codec", "rate", "frames", "time_base")}
    assert facts == {
        "kind": "film", "codec": "h264", "rate": 25.0, "frames": 20, "time_base": "1/12800",
    }  # fmt: skip


def test_a_clip_can_be_read_again_and_from_any_frame_on(mp4: Path) -> None:
    clip = open_frames(mp4)
    digests = [frame.image.digest for frame in clip]
    assert [frame.image.digest for frame in clip] == digests
    for index in (0, 7, 19):
        rest = list(clip.since(index))
        assert [frame.index for frame in rest] == list(range(index, 20))
        assert [frame.image.digest for frame in rest] == digests[index:]
    assert list(clip.since(20)) == []
    with pytest.raises(SettingsError, match="index"):
        clip.since(-1)


def test_the_digest_is_that_of_the_file(mp4: Path) -> None:
    import hashlib

    assert open_frames(mp4).digest == hashlib.sha256(mp4.read_bytes()).hexdigest()


def test_every_start_end_and_fps_choose_frames(mp4: Path) -> None:
    assert numbers(read(mp4, every=3)) == list(range(0, 20, 3))
    assert open_frames(mp4, every=3).count == 7
    assert numbers(read(mp4, start=0.2, end=0.4)) == [5, 6, 7, 8, 9]
    assert [frame.index for frame in read(mp4, start=0.2, every=4)] == [0, 1, 2, 3]
    assert numbers(read(mp4, start=0.2, every=4)) == [5, 9, 13, 17]
    assert read(mp4, start=0.2)[0].name == "clip.mp4#00005"
    # Times 0, 0.1, 0.2, ... of frames 0.04 apart; 0.1 lies between frames 2 and 3.
    assert numbers(read(mp4, fps=10)) == [0, 2, 5, 7, 10, 12, 15, 17]
    assert numbers(read(mp4, fps=100)) == list(range(20))  # no frame comes twice
    clip = open_frames(mp4, fps=10)
    assert clip.count is None
    assert numbers(list(clip.since(3))) == [7, 10, 12, 15, 17]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "every"),
        ({"fps": 0}, "fps"),
        ({"fps": 5, "every": 2}, "fps and every"),
        ({"start": 2, "end": 1}, "end must be later"),
        ({"start": -1}, "start"),
    ],
)
def test_a_wrong_choice_of_frames_is_refused(mp4: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        open_frames(mp4, **options)


def test_a_choice_without_a_frame_is_an_error(mp4: Path) -> None:
    with pytest.raises(ImageError, match=r"clip\.mp4: has no frame between start \(100\)"):
        read(mp4, start=100)


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    stamps = [0, 1, 10, 11, 30, 90]
    path = film(tmp_path / "vfr.mkv", greys(6), stamps=stamps, base=Fraction(1, 100))
    assert [frame.time for frame in read(path)] == [stamp / 100 for stamp in stamps]
    nearest = [min(range(6), key=lambda i: abs(stamps[i] / 100 - k / 10)) for k in range(10)]
    assert numbers(read(path, fps=10)) == sorted(set(nearest)) == [0, 2, 3, 4, 5]


def test_times_start_at_the_first_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "late.mkv", greys(3), stamps=[100, 101, 102])
    assert [frame.time for frame in read(path)] == [0, 0.04, 0.08]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", list(MATRICES))
def test_colours_are_right_by_the_definition_of_each_matrix(
    tmp_path: Path, matrix: str, full: bool
) -> None:
    rgb = patches(COLOURS)
    for bits, tolerance in ((8, 1), (10, 1)):
        values = yuv_of(rgb, matrix, full=full, bits=bits)
        path = yuv_film(tmp_path / "c.mkv", [values], matrix=MATRICES[matrix], full=full, bits=bits)
        clip = open_frames(path)
        shown = next(iter(clip)).image.rgb
        assert np.abs(shown.astype(int) - rgb).max() <= tolerance
        assert clip.facts["range"] == ("full" if full else "limited")
        assert ("bits" in clip.facts) == (bits > 8)


def test_a_film_that_names_no_matrix_is_read_as_players_do(tmp_path: Path) -> None:
    for size, matrix in (((576, 720), "bt601"), ((720, 1280), "bt709")):
        rgb = patches(COLOURS, size)
        path = yuv_film(tmp_path / "c.mkv", [yuv_of(rgb, matrix)], matrix=2)
        clip = open_frames(path)
        assert np.abs(next(iter(clip)).image.rgb.astype(int) - rgb).max() <= 1
        assert clip.facts["matrix_is_guessed"] is True


def test_colours_agree_with_ffmpegs_own_filter(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    rgb = np.asarray(Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC))
    path = film(tmp_path / "c.mkv", [rgb], matrix=1)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        graph = av.filter.Graph()
        nodes = [
            graph.add_buffer(template=container.streams.video[0]),
            graph.add("scale", "in_color_matrix=bt709:flags=accurate_rnd+full_chroma_int+bicubic"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        graph.push(frame)
        expected = graph.pull().to_ndarray()
    shown = read(path)[0].image.rgb
    assert np.abs(shown.astype(int) - expected).max() <= 2
    assert np.abs(shown.astype(int) - rgb).mean() < 6  # chroma has half the resolution


def test_high_dynamic_range_is_mapped_and_said(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (16, 64, 3))
    values = yuv_of(np.ascontiguousarray(ramp), "bt2020", bits=10)
    path = yuv_film(tmp_path / "hdr.mkv", [values], matrix=9, bits=10, curve=16, primaries=9)
    clip = open_frames(path)
    row = next(iter(clip)).image.rgb[8].astype(int)
    assert (np.ptp(row, axis=1) <= 2).all()  # grey stays grey
    assert (np.diff(row[:, 0]) >= 0).all()
    assert row[0, 0] <= 2
    assert row[-1, 0] == 255
    # PQ (SMPTE ST 2084): the value of 100 cd/m2 is 0.508; reference white has 203 cd/m2.
    half = row[round(0.508 * 63), 0]
    assert 170 <= half <= 200
    assert (clip.facts["light"], clip.facts["primaries"]) == ("PQ", "bt2020")
    assert any("high dynamic range" in note for note in clip.facts["notes"])


def test_wide_colours_are_brought_to_srgb_and_greys_stay(tmp_path: Path) -> None:
    rgb = patches([(128, 128, 128), (200, 60, 60), (255, 255, 255)])
    path = yuv_film(tmp_path / "w.mkv", [yuv_of(rgb, "bt2020")], matrix=9, curve=14, primaries=9)
    shown = next(iter(open_frames(path))).image.rgb[5].astype(int)
    assert np.abs(shown[2] - 128).max() <= 2
    assert np.abs(shown[-2] - 255).max() <= 2
    assert shown[48, 0] > 210
    assert shown[48, 1] < 50


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (((0, 1), (-1, 0)), lambda a: np.rot90(a, -1)),  # a telephone held upright
        (((0, -1), (1, 0)), lambda a: np.rot90(a, 1)),
        (((-1, 0), (0, -1)), lambda a: a[::-1, ::-1]),
        (((-1, 0), (0, 1)), lambda a: a[:, ::-1]),
        (((1, 0), (0, -1)), lambda a: a[::-1]),
        (((0, 1), (1, 0)), lambda a: a.swapaxes(0, 1)),
    ],
)
def test_a_film_is_turned_as_its_display_matrix_says(
    tmp_path: Path, matrix: Any, expected: Any
) -> None:
    rgb = patches([(250, 10, 10), (10, 250, 10)], (32, 64))
    rgb[16:] //= 2
    path = film(tmp_path / "turned.mp4", [rgb] * 2, codec="png", pixels="rgb24", display=None)
    plain = read(path)[0].image.rgb
    assert (plain == rgb).all()
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0 (ISO/IEC 14496-12, 8.3.2)
    (a, b), (c, d) = matrix
    words = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(word.to_bytes(4, "big", signed=True) for word in words)
    path.write_bytes(data)
    clip = open_frames(path)
    shown = next(iter(clip)).image
    assert (shown.rgb == expected(rgb)).all()
    assert clip.size == shown.size == shown.rgb.shape[:2]
    assert clip.facts["display_matrix"] == [list(row) for row in matrix]


def test_pixels_that_are_not_square_are_shown_as_people_see_them(tmp_path: Path) -> None:
    frames = [patches(COLOURS, (64, 128))] * 2
    path = film(tmp_path / "pal.mp4", frames, codec="libx264", aspect=Fraction(16, 15))
    clip = open_frames(path)
    assert clip.size == (64, 137)  # 128 * 16 / 15 = 136.5
    assert next(iter(clip)).image.rgb.shape == (64, 137, 3)
    assert clip.facts["pixel_aspect"] == "16/15"


@pytest.mark.parametrize(
    ("codec", "pixels", "name"),
    [
        ("png", "rgba", "a.mov"),
        ("libvpx-vp9", "yuva420p", "a.webm"),
        ("ffv1", "yuva420p", "a.mkv"),
        ("prores_ks", "yuva444p10le", "p.mov"),
    ],
)
def test_pixels_of_opacity_0_are_not_there(
    tmp_path: Path, codec: str, pixels: str, name: str
) -> None:
    alpha = np.zeros((64, 96), np.uint8)
    alpha[:, 32:] = 255
    rgba = np.dstack([flat((200, 40, 40), (64, 96)), alpha])
    path = film(tmp_path / name, [rgba] * 2, codec=codec, pixels=pixels, source="rgba")
    for frame in read(path):
        valid = frame.image.valid
        assert valid is not None
        assert not valid[:, :28].any()
        assert valid[:, 36:].all()
        assert np.abs(frame.image.rgb[30, 80].astype(int) - (200, 40, 40)).max() <= 8


def test_odd_sizes_keep_their_last_row_and_column(tmp_path: Path) -> None:
    rgb = patches([(240, 20, 20), (20, 20, 240)], (67, 101))
    path = film(tmp_path / "odd.mkv", [rgb])
    clip = open_frames(path)
    shown = next(iter(clip)).image.rgb
    assert clip.size == (67, 101) == shown.shape[:2]
    assert np.abs(shown[66, 100].astype(int) - (20, 20, 240)).max() <= 3


def test_interlaced_films_are_said_to_be(tmp_path: Path) -> None:
    path = film(
        tmp_path / "i.mkv", greys(6), codec="libx264", options={"x264-params": "interlaced=1"}
    )
    clip = open_frames(path)
    assert clip.facts["interlaced"] is True
    assert any("interlaced" in note for note in clip.facts["notes"])


def test_a_film_is_known_by_its_content(mp4: Path, tmp_path: Path) -> None:
    other = tmp_path / "clip.jpg"
    other.write_bytes(mp4.read_bytes())
    assert len(read(other)) == 20


def test_sound_is_left_out_and_a_file_of_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16000
        out.mux(stream.encode(sound))
        out.mux(stream.encode())
    with pytest.raises(ImageError, match=r"sound\.mp4: holds no film \(audio\)"):
        open_frames(path)


def test_one_frame_is_a_clip_of_one(tmp_path: Path) -> None:
    path = film(tmp_path / "one.mp4", greys(1), codec="libx264")
    clip = open_frames(path)
    assert len(list(clip)) == 1
    assert "is a single frame" in clip.facts["notes"]


def test_two_frames_are_a_clip(tmp_path: Path) -> None:
    assert len(read(film(tmp_path / "two.mp4", greys(2), codec="libx264"))) == 2


# -- bad films ------------------------------------------------------------------------------------


def test_a_film_without_its_index_is_refused_in_words(mp4: Path, tmp_path: Path) -> None:
    data = mp4.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: data.index(b"moov")])
    with pytest.raises(ImageError, match=r"cut\.mp4: is damaged .*its index, moov, is missing"):
        open_frames(path)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mkv", "ffv1", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mjpeg", {}),
        ("a.ts", "mpeg2video", {}),
    ],
)
def test_frames_before_a_damaged_tail_are_kept_and_it_is_said(
    tmp_path: Path, name: str, codec: str, container: dict[str, str]
) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(12)]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = film(tmp_path / name, frames, codec=codec, pixels=pixels, container=container)
    expected = [frame.image.digest for frame in read(whole)]
    assert len(expected) == 12
    cut = tmp_path / f"cut-{name}"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 7 // 10])
    kept, facts = read_damaged(cut)
    assert 3 <= len(kept) < 12
    assert facts["damaged"]["read"] == len(kept)
    assert [frame.image.digest for frame in kept[:-1]] == expected[: len(kept) - 1]


@pytest.fixture(scope="module")
def damaged_parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int, int]:
    """A film of twelve frames, and where its sixth packet lies."""
    path = tmp_path_factory.mktemp("films") / "a.webm"
    film(path, greys(12), codec="libvpx-vp9", options={"g": "4"})
    with av.open(str(path)) as container:
        packet = [one for one in container.demux(video=0) if one.size][5]
        return path.read_bytes(), packet.pos, packet.size


def test_a_film_that_is_damaged_in_its_middle_goes_on_and_says_so(
    damaged_parts: tuple[bytes, int, int], tmp_path: Path
) -> None:
    whole, start, size = damaged_parts
    data = bytearray(whole)
    data[start + 8 : start + size + 4] = b"\xff" * (size - 4)
    path = tmp_path / "flipped.webm"
    path.write_bytes(data)
    kept, facts = read_damaged(path)
    assert numbers(kept) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert facts["damaged"] == {"read": 11, "reason": "1 packet cannot be decoded"}
    assert kept[-1].time == 11 / 25  # frames after the damage keep their times


def test_a_film_that_ends_before_its_time_says_so(
    damaged_parts: tuple[bytes, int, int], tmp_path: Path
) -> None:
    whole, start, size = damaged_parts
    data = bytearray(whole)
    data[start : start + size + 8] = bytes(size + 8)  # FFmpeg stops here without a word
    path = tmp_path / "zeros.webm"
    path.write_bytes(data)
    kept, facts = read_damaged(path)
    assert numbers(kept) == [0, 1, 2, 3, 4]
    assert facts["damaged"]["reason"] == "it ends after 0.2 of 0.48 seconds"


def test_a_film_that_is_damaged_from_its_start_is_an_error(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mkv", greys(3), codec="libx264")
    data = bytearray(whole.read_bytes())
    start = data.index(b"\x1f\x43\xb6\x75")  # the first cluster
    data[start + 20 :] = bytes(len(data) - start - 20)
    path = tmp_path / "zero.mkv"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"zero\.mkv: is damaged or cut short"):
        open_frames(path)


def test_an_unknown_codec_is_named(mp4: Path, tmp_path: Path) -> None:
    data = mp4.read_bytes()
    path = tmp_path / "odd.mp4"
    path.write_bytes(data.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    with pytest.raises(ImageError, match=r"odd\.mp4: .*no decoder.*zzzz"):
        open_frames(path)


def test_an_encrypted_film_is_refused_by_name(mp4: Path, tmp_path: Path) -> None:
    path = tmp_path / "locked.mp4"
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00" * 16,
           "encryption_kid": "11" * 16}  # fmt: skip
    film(path, greys(5), codec="libx264", container=key)
    with pytest.raises(ImageError, match=r"locked\.mp4: is encrypted"):
        open_frames(path)


def test_frames_of_another_size_are_an_error_that_names_the_first(tmp_path: Path) -> None:
    parts = [
        film(tmp_path / f"{i}.h264", greys(3, size), codec="libx264", form="h264")
        for i, size in enumerate([(48, 64), (64, 96)])
    ]
    path = tmp_path / "both.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    clip = open_frames(path)
    with pytest.raises(ImageError, match=r"both\.h264#00003 has 96 x 64 pixels.*joint=True"):
        list(clip)
    both = open_frames(path, joint=True)
    assert both.size is None
    assert [frame.image.size for frame in both] == [(48, 64)] * 3 + [(64, 96)] * 3


def test_a_film_with_too_many_pixels_is_refused(mp4: Path) -> None:
    with pytest.raises(ImageError, match=r"clip\.mp4: 64 x 48 .*above the limit"):
        open_frames(mp4, max_pixels=1000)


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "list.ts"
    empty.write_bytes(b"")
    text.write_text("export const film = 1\n" * 30)
    for path in (empty, text):
        with pytest.raises(ImageError, match=path.name):
            open_frames(path)
    with pytest.raises(ImageError, match="no such file"):
        open_frames(tmp_path / "none.mp4")


def test_a_list_of_other_films_is_not_followed(mp4: Path, tmp_path: Path) -> None:
    for name, text in (
        ("a.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{mp4}\n#EXT-X-ENDLIST\n"),
        ("a.mp4", f"ffconcat version 1.0\nfile '{mp4}'\n"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ImageError, match=name):
            open_frames(path)


def test_a_film_needs_the_extra_and_says_so(mp4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[video\]"):
        open_frames(mp4)


def test_no_file_and_no_thread_is_left(mp4: Path) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    read(mp4)
    before = held()
    list(open_frames(mp4))
    frames = iter(open_frames(mp4))
    next(frames)
    assert held()[0] == before[0] + 1
    assert held()[1] == before[1]  # decoding runs in this thread
    del frames
    assert held() == before


def test_ffmpeg_prints_nothing(mp4: Path, tmp_path: Path) -> None:
    data = bytearray(mp4.read_bytes())
    at = data.index(b"mdat") + 600
    data[at : at + 200] = bytes(200)
    path = tmp_path / "bad.mp4"
    path.write_bytes(data)
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from regiontree.frames import open_frames\n"
        f"try: print(len(list(open_frames({str(path)!r}))))\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory of Linux")
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path) -> None:
    path = film(tmp_path / "long.mkv", greys(32, (32, 32)) * 157, codec="libx264")
    code = (
        "import resource, sys\n"
        "from regiontree.frames import open_frames\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "for number, frame in enumerate(open_frames(sys.argv[1])):\n"
        "    if number == 500: early = peak()\n"
        "print(number + 1, peak() - early)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    count, grown = map(int, done.stdout.split())
    assert count == 5024
    assert grown <= 8  # megabytes


# -- animations and stacks ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif"])
def test_animations_have_their_frames_and_times(tmp_path: Path, name: str) -> None:
    frames = [patches([(16 * i, 200, 30), (0, 0, 255)]) for i in range(5)]
    first, *others = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / name
    steps = [40, 80, 120, 40, 40]
    lossless = {"lossless": True} if name == "a.webp" else {}
    first.save(path, save_all=True, append_images=others, duration=steps, **lossless)
    shown = read(path)
    assert [frame.time for frame in shown] == [0, 0.04, 0.12, 0.24, 0.28]
    for frame, expected in zip(shown, frames, strict=True):
        assert (frame.image.rgb == expected).all()
    clip = open_frames(path, every=2)
    assert clip.count == 3
    assert [frame.name for frame in clip] == [f"{name}#0000{i}" for i in (0, 2, 4)]
    assert [frame.name for frame in read(path, fps=10)] == [f"{name}#0000{i}" for i in (0, 2, 3)]
    assert (next(iter(clip.since(2))).image.rgb == frames[4]).all()


def test_transparent_pixels_of_an_animation_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    images = []
    for i in range(3):
        image = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
        image.paste((200, 30, 30, 255), (10 * i, 5, 10 * i + 10, 20))
        images.append(image)
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, disposal=2)
    for i, frame in enumerate(read(path)):
        valid = np.zeros((30, 40), bool)
        valid[5:20, 10 * i : 10 * i + 10] = True
        assert frame.image.valid is not None
        assert (frame.image.valid == valid).all()


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_an_animation_that_is_cut_off_keeps_its_first_frames(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(5)]
    whole, cut = tmp_path / name, tmp_path / f"cut-{name}"
    images[0].save(whole, save_all=True, append_images=images[1:], duration=40)
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 7 // 10])
    kept, facts = read_damaged(cut)
    expected = [frame.image.digest for frame in read(whole)]
    assert [frame.image.digest for frame in kept] == expected[:3]
    assert facts["damaged"]["read"] == 3


def test_an_animation_without_its_end_is_said_to_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    images = [Image.fromarray(frame) for frame in greys(4)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    path.write_bytes(path.read_bytes()[:-1])
    kept, facts = read_damaged(path)
    assert len(kept) == 4
    assert facts["damaged"]["reason"] == "the end of the file is missing"


def test_pages_of_a_tiff_are_frames_and_have_one_stretch(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    ramp = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
    tifffile.imwrite(path, np.stack([ramp, 2 * ramp, 4 * ramp]), photometric="minisblack")
    clip = open_frames(path)
    frames = list(clip)
    assert (clip.size, clip.count) == ((40, 50), 3)
    assert [frame.name for frame in frames] == [f"stack.tif#0000{i}" for i in range(3)]
    low, high = clip.facts["stretch"]["low"], clip.facts["stretch"]["high"]
    assert low <= 10
    assert 7900 <= high <= 7996
    for frame, factor in zip(frames, (1, 2, 4), strict=True):
        expected = np.clip((factor * ramp.astype(float) - low) / (high - low) * 255, 0, 255)
        assert np.abs(frame.image.rgb[:, :, 0] - expected).max() <= 1
    with pytest.raises(SettingsError, match="fps"):
        open_frames(path, fps=5)
    assert [frame.name for frame in read(path, start=1)] == ["stack.tif#00001", "stack.tif#00002"]


@pytest.mark.parametrize(
    ("axes", "shape", "said"), [("TYX", (4,), "T"), ("ZYX", (3,), "Z"), ("TZYX", (2, 3), "ZT")]
)
def test_a_microscopes_stack_says_what_its_pages_are(
    tmp_path: Path, axes: str, shape: tuple[int, ...], said: str
) -> None:
    path = tmp_path / "stack.ome.tif"
    stack = np.zeros((*shape, 20, 30), np.uint8)
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": axes}, photometric="minisblack")
    clip = open_frames(path)
    assert clip.facts["axes"] == said
    assert clip.count == np.prod(shape)


def test_pages_of_different_sizes_are_refused_before_work(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as out:
        for size in ((20, 30), (20, 30), (25, 30)):
            out.write(np.zeros((*size, 3), np.uint8), photometric="rgb")
    with pytest.raises(ImageError, match=r"stack\.tif: page 2 has 30 x 25 pixels"):
        open_frames(path)


def test_a_stack_whose_list_of_pages_is_cut_says_so(tmp_path: Path) -> None:
    whole, cut = tmp_path / "stack.tif", tmp_path / "cut.tif"
    with tifffile.TiffWriter(whole) as out:
        for frame in greys(4):
            out.write(frame, photometric="rgb", contiguous=False)
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    kept, facts = read_damaged(cut)
    assert 1 <= len(kept) < 4
    assert facts["damaged"]["read"] == len(kept)
    assert numbers(kept) == list(range(len(kept)))


def test_pages_that_pillow_decodes_are_each_their_own(tmp_path: Path) -> None:
    path = tmp_path / "lab.tif"
    pages = [Image.new("LAB", (30, 20), (60 * i + 40, 128, 128)) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    means = [frame.image.rgb.mean() for frame in read(path)]
    assert means[0] < means[1] - 20 < means[2] - 40


# -- DICOM ----------------------------------------------------------------------------------------


def dicom(path: Path, frames: NDArray[np.uint16], **elements: Any) -> Path:
    """A DICOM file of grey frames (H, W) or (T, H, W)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = frames.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.Modality = 15, 0, "MR"
    if frames.ndim == 3:
        data.NumberOfFrames = len(frames)
    for name, value in elements.items():
        setattr(data, name, value)
    data.PixelData = frames.astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def ramp(factor: int) -> NDArray[np.uint16]:
    return (np.arange(20 * 30).reshape(20, 30) * factor).astype(np.uint16)


def test_frames_of_a_dicom_file_have_their_times_and_one_stretch(tmp_path: Path) -> None:
    path = dicom(tmp_path / "cine.dcm", np.stack([ramp(1), ramp(2), ramp(4)]), FrameTime="50")
    clip = open_frames(path)
    frames = list(clip)
    assert [frame.time for frame in frames] == [0, 0.05, 0.1]
    tops = [int(frame.image.rgb.max()) for frame in frames]
    assert tops[2] == 255
    assert tops[1] in range(125, 132)
    assert tops[0] in range(60, 68)


def series(folder: Path, places: list[float], **elements: Any) -> None:
    for number, place in enumerate(places):
        given = {
            "SeriesInstanceUID": "1.2.3", "InstanceNumber": number + 1,
            "ImagePositionPatient": [0, 0, place], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        } | elements  # fmt: skip
        dicom(folder / f"IM{number}", ramp(1) + np.uint16(10 * (place + 9)), **given)


def test_slices_of_a_series_are_sorted_along_their_normal(tmp_path: Path) -> None:
    series(tmp_path, [5, -2.5, 0, 2.5])
    clip = open_frames(tmp_path)
    assert [frame.name for frame in clip] == ["IM1", "IM2", "IM3", "IM0"]
    assert clip.facts["sorted_by"] == "position"
    assert clip.facts["spacing_mm"] == 2.5
    assert clip.facts["kind"] == "dicom series"
    means = [frame.image.rgb.mean() for frame in clip]
    assert means == sorted(means)
    assert means[0] < means[-1]


def test_slices_without_places_are_sorted_by_their_numbers(tmp_path: Path) -> None:
    for name, number in (("a", 10), ("b", 2), ("c", 1)):
        dicom(tmp_path / name, ramp(1), InstanceNumber=number)
    clip = open_frames(tmp_path)
    assert [frame.name for frame in clip] == ["c", "b", "a"]
    assert clip.facts["sorted_by"] == "InstanceNumber"


def test_a_folder_of_two_series_is_refused_by_name(tmp_path: Path) -> None:
    series(tmp_path, [0, 1, 2], SeriesDescription="T1")
    dicom(tmp_path / "IM9", ramp(1), SeriesInstanceUID="1.2.4", SeriesDescription="T2 flair")
    with pytest.raises(ImageError, match=r"2 DICOM series: 'T1' \(3 files\), 'T2 flair'.*IM9"):
        open_frames(tmp_path)


def test_slices_that_are_not_parallel_are_refused(tmp_path: Path) -> None:
    series(tmp_path, [0, 1])
    dicom(tmp_path / "scout", ramp(1), SeriesInstanceUID="1.2.3", InstanceNumber=9,
          ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[0, 1, 0, 0, 0, 1])  # fmt: skip
    with pytest.raises(ImageError, match=r"not parallel \(scout"):
        open_frames(tmp_path)


# -- folders, lists, arrays -----------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for i, number in enumerate((1, 2, 3, 10, 11)):
        Image.fromarray(greys(5)[i]).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    clip = open_frames(tmp_path)
    frames = list(clip)
    assert [frame.name for frame in frames] == [f"frame{n}.png" for n in (1, 2, 3, 10, 11)]
    assert numbers(frames) == [0, 1, 2, 3, 4]
    assert [frame.time for frame in frames] == [None] * 5
    assert (clip.name, clip.count, clip.size) == (tmp_path.name, 5, (48, 64))
    assert clip.facts["numbers"] == {
        "first": 1, "last": 11, "step": 1, "missing": 6, "gaps": [[4, 9]],
    }  # fmt: skip
    assert "6 frames are missing by their numbers" in clip.facts["notes"]


def test_every_second_number_is_no_gap() -> None:
    files = [Path(f"0016E5_{number:05d}.png") for number in range(7959, 8059, 2)]
    assert gaps(files) == {"first": 7959, "last": 8057, "step": 2}
    assert gaps([Path("a.png"), Path("b.png")]) == {}


def test_the_digest_of_a_folder_changes_with_its_frames_only(tmp_path: Path) -> None:
    for i, frame in enumerate(greys(3)):
        Image.fromarray(frame).save(tmp_path / f"{i}.png")
    before = open_frames(tmp_path).digest
    os.utime(tmp_path / "1.png", (0, 0))
    (tmp_path / "notes.txt").write_text("none")
    assert open_frames(tmp_path).digest == before
    Image.fromarray(flat((1, 2, 3))).save(tmp_path / "1.png")
    assert open_frames(tmp_path).digest != before


def test_a_frame_of_another_size_in_a_folder_is_named_before_work(tmp_path: Path) -> None:
    for i, size in enumerate([(48, 64), (48, 64), (50, 64)]):
        Image.fromarray(flat((9, 9, 9), size)).save(tmp_path / f"{i}.png")
    with pytest.raises(ImageError, match=r"2\.png: has 64 x 50 pixels.*joint=True"):
        open_frames(tmp_path)
    clip = open_frames(tmp_path, joint=True)
    assert clip.size is None
    assert [frame.image.size for frame in clip] == [(48, 64), (48, 64), (50, 64)]


def test_a_turned_photograph_of_the_same_sides_is_found(tmp_path: Path) -> None:
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, size in zip(photos, [(48, 64), (64, 48)], strict=True):
        Image.fromarray(flat((9, 9, 9), size)).save(path)
    with pytest.raises(ImageError, match=r"b\.png has 48 x 64 pixels"):
        read(photos)


def test_a_damaged_frame_of_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    for i, frame in enumerate(greys(3)):
        Image.fromarray(frame).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    with pytest.raises(ImageError, match=r"1\.png"):
        read(tmp_path)


def test_a_folder_without_frames_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ImageError, match=r"has no frame.*1 \.txt"):
        open_frames(tmp_path)


def test_deep_frames_of_a_folder_have_one_stretch(tmp_path: Path) -> None:
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", ramp(2**i), photometric="minisblack")
    tops = [int(frame.image.rgb.max()) for frame in read(tmp_path)]
    assert tops[2] == 255
    assert tops[1] in range(125, 132)
    assert tops[0] in range(60, 68)


def test_a_list_of_photographs_is_a_set(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(greys(2)[1]).save(path)
    photos = [greys(1)[0], path, Image.fromarray(flat((16, 16, 16)))]
    clip = open_frames(photos)
    frames = list(clip)
    assert numbers(frames) == [0, 1, 2]
    assert [frame.name for frame in frames] == [
        "photographs#00000", "one.png", "photographs#00002",
    ]  # fmt: skip
    assert clip.digest == open_frames(photos).digest != open_frames(photos[:2]).digest
    with pytest.raises(ImageError, match="has no photograph"):
        open_frames([])


def test_an_array_is_a_clip() -> None:
    rgb = np.stack(greys(4))
    clip = open_frames(rgb, every=2)
    assert (clip.size, clip.count) == ((48, 64), 2)
    assert numbers(list(clip)) == [0, 2]
    assert numbers(read(rgb[..., 0])) == [0, 1, 2, 3]
    assert open_frames(rgb).digest == open_frames(rgb.copy()).digest
    assert open_frames(rgb).digest != open_frames(rgb[::-1]).digest
    assert numbers(read(rgb, start=1, end=3)) == [1, 2]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((48, 64, 3), np.uint8), r"\[photograph\]"),
        (np.zeros((2, 48, 64, 3), np.float32), "uint8"),
        (np.zeros((0, 48, 64, 3), np.uint8), "no frame"),
        (np.zeros((2, 0, 64, 3), np.uint8), "no pixels"),
        (np.zeros((48, 64), np.uint8), r"\(T, H, W\)"),
    ],
)
def test_an_array_of_another_shape_is_refused(array: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        open_frames(array)


def test_what_is_no_clip_is_refused() -> None:
    with pytest.raises(ImageError, match="a clip must be a path"):
        open_frames(3)  # type: ignore[arg-type]


def test_a_photograph_is_a_clip_of_one(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(greys(2)[1]).save(path)
    clip = open_frames(path)
    (frame,) = clip
    assert frame.name == "photo.jpg"
    assert (frame.image.rgb == load_image(path).rgb).all()
    assert clip.facts["notes"] == ["is a single frame"]


# -- how little a frame changes -------------------------------------------------------------------


def test_still_is_the_mean_difference_of_luminance() -> None:
    left = flat((100, 100, 100))
    right = left.copy()
    right[:, 32:] = (110, 110, 110)  # half of the picture, ten levels
    assert still(left, left) == 0
    assert still(right, left) == pytest.approx(5, abs=0.05)
    assert still(flat((255, 255, 255)), flat((0, 0, 0))) == pytest.approx(255, abs=0.01)
    green = still(flat((0, 100, 0)), flat((0, 0, 0)))
    assert green == pytest.approx(0.7152 * 100, abs=0.1)


def test_still_hardly_sees_the_noise_of_pixels() -> None:
    rng = np.random.default_rng(0)
    scene = np.full((480, 640, 3), 120.0)
    noisy = [(scene + rng.normal(0, 8, scene.shape)).astype(np.uint8) for _ in range(2)]
    assert still(*noisy) < 0.6
