"""Search by example: the regions of a collection that are most like one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_discover import SETTINGS, Colours, kinds_of, made_up, save_all
from typer.testing import CliRunner

from regiontree import Collection, RegionParser
from regiontree.cli import app
from regiontree.collection import CollectionSettings, discover, search
from regiontree.collection.approximate import Approximate
from regiontree.collection.files import CollectionFiles
from regiontree.collection.search import Vectors, search_exactly
from regiontree.errors import CollectionError, MissingExtraError, RegionTreeError
from regiontree.tree import RegionTree

Rows = NDArray[np.float16]


def unit_rows(n: int, p: int = 24, seed: int = 0) -> Rows:
    """Unit rows around 40 centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5).normal(size=(40, p))
    rows = centres[rng.integers(0, 40, n)] + rng.normal(0, 0.6, (n, p))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def reference(rows: Rows, example: NDArray[Any], count: int) -> NDArray[np.int64]:
    cosine = (rows.astype(np.float64) * example.astype(np.float64)).sum(axis=1)
    return np.argsort(-cosine, kind="stable")[:count]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    (tmp_path / "trees").mkdir()
    save_all(tmp_path / "trees", range(30))
    discover(tmp_path / "trees", tmp_path / "out", SETTINGS)
    return Collection.load(tmp_path / "out")


# -- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20, 500, 10_000])
def test_exact_search_is_a_sort_of_all_cosines(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(search, "_BLOCK", 700)
    rows, examples = unit_rows(3000), unit_rows(5, seed=1).astype(np.float32)
    found = search_exactly(rows, examples, [count] * 5)
    for example, (places, cosines) in zip(examples, found, strict=True):
        np.testing.assert_array_equal(places, reference(rows, example, count))
        own = rows[places].astype(np.float64) @ example
        np.testing.assert_allclose(cosines, own, atol=1e-12)


def test_equal_rows_stand_in_the_order_of_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_BLOCK", 333)
    rows = np.tile(unit_rows(7, p=256), (300, 1))  # each row 300 times, at different places
    for i, (places, cosines) in enumerate(
        search_exactly(rows, rows[:7].astype(np.float32), [250] * 7)
    ):
        np.testing.assert_array_equal(places, np.arange(250) * 7 + i)
        assert len(set(cosines.tolist())) == 1


def test_examples_may_want_different_numbers() -> None:
    rows = unit_rows(50)
    found = search_exactly(rows, rows[:3].astype(np.float32), [1, 7, 60])
    assert [len(places) for places, _ in found] == [1, 7, 50]


def test_approximate_search_finds_nearly_all(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    rows, examples = unit_rows(4000), unit_rows(10, seed=2).astype(np.float32)
    files = CollectionFiles(tmp_path)
    vectors = Vectors.of(files, "a", rows.shape, lambda: [rows.astype(np.float32)])
    found = vectors.search(examples, [100] * 10, exact=False)
    for example, (places, cosines) in zip(examples, found, strict=True):
        best = reference(rows, example, 100)
        assert len(set(best.tolist()) & set(places.tolist())) >= 95
        exact = (rows[places].astype(np.float64) * example.astype(np.float64)).sum(axis=1)
        np.testing.assert_array_equal(cosines, exact)  # candidates are compared exactly
        assert (np.diff(cosines) <= 0).all()
    before = (tmp_path / "vectors.index").read_bytes()
    Approximate.build(rows).write(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == before


def test_the_index_is_built_once_and_again_for_other_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("usearch")
    built: list[int] = []
    build = Approximate.build

    def counted(rows: Rows) -> Approximate:
        built.append(len(rows))
        return build(rows)

    monkeypatch.setattr(Approximate, "build", counted)
    files = CollectionFiles(tmp_path)
    for key, n in (("a", 300), ("a", 300), ("b", 301)):
        rows = unit_rows(n)
        vectors = Vectors.of(files, key, rows.shape, lambda rows=rows: [rows.astype(np.float32)])
        found = vectors.search(rows[:1].astype(np.float32), [5], exact=False)
        np.testing.assert_array_equal(found[0][0], reference(rows, rows[0], 5))
    assert built == [300, 301]
    path = tmp_path / "vectors.index"
    whole = path.read_bytes()
    for bad in (b"no index", whole[:-1000], bytes(len(whole)), None):
        path.unlink()  # what is mapped into memory must not be cut
        if bad is not None:
            path.write_bytes(bad)
        Vectors(rows, files, "b").search(rows[:1].astype(np.float32), [5], exact=False)
        assert path.read_bytes() == whole
    assert built == [300, 301, 301, 301, 301, 301]


def test_an_index_that_is_gone_costs_no_descriptor(tmp_path: Path) -> None:
    """usearch closes descriptor 0 if there is no file, and the next file that is opened gets 0."""
    pytest.importorskip("usearch")
    with open(os.devnull) as file:
        kept = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            assert Approximate.read(tmp_path / "vectors.index", (3, 4)) is None
            assert os.path.samestat(os.fstat(0), os.fstat(file.fileno()))
        finally:
            os.dup2(kept, 0)
            os.close(kept)


def test_search_is_exact_up_to_a_million(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search.EXACT_UP_TO == 1_000_000
    rows = unit_rows(300)
    example = rows[:1].astype(np.float32)
    vectors = Vectors.of(
        CollectionFiles(tmp_path), "a", rows.shape, lambda: [rows.astype(np.float32)]
    )
    vectors.search(example, [5])
    vectors.search(example, [5], exact=True)
    assert not (tmp_path / "vectors.index").exists()
    monkeypatch.setattr(search, "EXACT_UP_TO", 299)
    monkeypatch.setattr(search, "is_installed", lambda: False)
    vectors.search(example, [5])
    assert not (tmp_path / "vectors.index").exists()
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[search\]"):
        vectors.search(example, [5], exact=False)


# -- the rows of a collection ---------------------------------------------------------------------


def test_rows_are_kept_in_half_precision(collection: Collection) -> None:
    collection.like("003", 2)
    path = collection.folder / "vectors.npy"
    rows = np.load(path, mmap_mode="r")
    assert (rows.dtype, rows.shape) == (np.float16, (180, 16))
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float32), axis=1), 1, atol=2e-3)
    before = path.stat().st_mtime_ns
    Collection.load(collection.folder).like("004", 1)
    assert path.stat().st_mtime_ns == before


def test_rows_are_renewed_when_photographs_join(collection: Collection, tmp_path: Path) -> None:
    collection.like("003", 2)
    save_all(tmp_path / "trees", range(30, 36))
    discover(tmp_path / "trees", tmp_path / "out", add=True)
    found = Collection.load(tmp_path / "out").like("003", 2, k=10_000)
    assert len(found) == 6 * 36 - 1
    assert {f"{i:03d}" for i in range(30, 36)} <= {one.photo for one in found}
    assert len(np.load(tmp_path / "out" / "vectors.npy")) == 6 * 36


@pytest.mark.parametrize("bad", [b"", b"\x93NUMPY\x01\x00", b"cut"])
def test_damaged_rows_are_made_again(collection: Collection, bad: bytes) -> None:
    found = collection.like("003", 2)
    path = collection.folder / "vectors.npy"
    path.write_bytes(bad if bad != b"cut" else path.read_bytes()[:-10])
    assert Collection.load(collection.folder).like("003", 2) == found
    assert np.load(path).shape == (180, 16)


def test_a_folder_that_cannot_be_written_is_searched_in_memory(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: CollectionFiles, path: Path) -> Any:
        raise CollectionError(f"{path}: cannot be written")

    found = Collection.load(collection.folder).like("003", 2)
    (collection.folder / "vectors.npy").unlink()
    monkeypatch.setattr(CollectionFiles, "writing", refused)
    assert collection.like("003", 2) == found
    assert not (collection.folder / "vectors.npy").exists()


# -- examples -------------------------------------------------------------------------------------


def test_an_example_need_not_be_in_the_collection(collection: Collection, tmp_path: Path) -> None:
    tree = made_up(70)
    tree.save(tmp_path / "new.npz")
    y, x = np.argwhere(tree.labels == 3)[0].tolist()
    for photo in (tree, tmp_path / "new.npz", str(tmp_path / "new.npz")):
        for (example,) in (
            collection.search(photo, 3, k=7),
            collection.search(photo, point=(y, x), k=7),
        ):
            assert (example.node, len(example.like)) == (3, 7)
            assert example.share == pytest.approx(7 / 40)
            for one in example.like:
                kinds = kinds_of(collection.forest[one.photo])
                assert kinds[one.node] == kinds_of(tree)[3]
                assert -1 <= one.likeness <= 1


def test_a_whole_photograph_is_all_its_regions(collection: Collection) -> None:
    tree = made_up(71)
    found = collection.search(tree, k=5)
    assert [one.node for one in found] == tree.cut_nodes(n_regions=6).tolist()
    assert sum(one.share for one in found) == pytest.approx(1)
    for one in found:
        assert one == collection.search(tree, one.node, k=5)[0]
    absent = made_up(72, no_data=True)
    assert 5 not in [one.node for one in collection.search(absent, k=1)]


def test_a_photograph_of_the_collection_is_not_like_itself(collection: Collection) -> None:
    found = collection.search("003", k=4)
    for one in found:
        assert one.like == collection.like("003", one.node, k=4)
        assert ("003", one.node) not in {(other.photo, other.node) for other in one.like}


def halves(path: Path, left: tuple[int, int, int], right: tuple[int, int, int]) -> Path:
    pixels = np.repeat(np.repeat(np.array([[left, right]], np.uint8), 32, 0), 32, 1)
    Image.fromarray(pixels).save(path)
    return path


def parser(**changes: Any) -> RegionParser:
    return RegionParser(backbone=Colours(), size=64, parts=8, **changes)


@pytest.fixture
def photographs(tmp_path: Path) -> Collection:
    """Photographs whose halves are red and blue, or green and blue."""
    (tmp_path / "photos").mkdir()
    for i in range(6):
        first = ((220, 30, 30), (30, 220, 30))[i % 2]
        path = halves(tmp_path / "photos" / f"{i}.png", first, (30, 30, 220))
        parser().parse(path).save(tmp_path / "seen" / f"{i}.npz")
    settings = CollectionSettings(regions=2, descriptor="embedding")
    discover(tmp_path / "seen", tmp_path / "pictures", settings)
    return Collection.load(tmp_path / "pictures")


def test_a_photograph_is_parsed(photographs: Collection, tmp_path: Path) -> None:
    new = halves(tmp_path / "new.png", (30, 225, 35), (225, 30, 30))
    pixels = np.asarray(Image.open(new))
    for photo in (new, str(new), pixels):
        (example,) = photographs.search(photo, point=(5, 5), k=3, parser=parser())
        assert {int(one.photo) % 2 for one in example.like} == {1}  # those that have green
        (example,) = photographs.search(photo, point=(5, 60), k=3, parser=parser())
        assert {int(one.photo) % 2 for one in example.like} == {0}


def test_the_parser_has_the_settings_of_the_trees(
    photographs: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network is the user's own, so that of the test takes its place."""
    from regiontree.collection import examples

    asked: list[dict[str, Any]] = []

    def stand_in(options: dict[str, Any], *, device: str) -> RegionParser:
        asked.append({**options, "device": device})
        return parser()

    monkeypatch.setattr(examples, "parser_of", stand_in)
    new = halves(tmp_path / "new.png", (30, 225, 35), (225, 30, 30))
    photographs.search(new, k=3, device="cpu")
    photographs.search(new, k=3, device="cpu")
    assert len(asked) == 1  # it is kept
    assert asked[0]["settings"] == photographs.forest["0"].meta["settings"]
    assert asked[0]["device"] == "cpu"


# -- what is refused ------------------------------------------------------------------------------


def test_another_network_is_refused(
    collection: Collection, photographs: Collection, tmp_path: Path
) -> None:
    with pytest.raises(CollectionError, match=r"cannot be compared: .* another network"):
        collection.search(made_up(80, network="other"))
    with pytest.raises(CollectionError, match="length of descriptors"):
        collection.search(made_up(80, dim=13))
    plain = made_up(80)
    arrays = {name: getattr(plain, name) for name in ("labels", "parents", "height", "stop")}
    with pytest.raises(CollectionError, match="no descriptors"):
        collection.search(RegionTree(**arrays, meta=dict(plain.meta)))
    halves(tmp_path / "new.png", (30, 225, 35), (225, 30, 30))
    with pytest.raises(CollectionError, match="smoothing"):
        photographs.search(tmp_path / "new.png", parser=parser(smooth=1))


def test_bad_input_is_named(collection: Collection, tmp_path: Path) -> None:
    tree = made_up(81)
    with pytest.raises(CollectionError, match="neither a photograph of the collection nor a file"):
        collection.search(tmp_path / "gone.jpg")
    with pytest.raises(CollectionError, match="record no settings; give a parser"):
        collection.search(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(RegionTreeError, match="outside the image of 5 x 8"):
        collection.search(tree, point=(5, 0))
    with pytest.raises(CollectionError, match="a row and a column"):
        collection.search(tree, point=(5,))  # type: ignore[arg-type]
    with pytest.raises(CollectionError, match="a node or a point, and not both"):
        collection.search(tree, 3, point=(0, 0))
    for node in (-1, 9, 1.5):
        with pytest.raises(RegionTreeError, match="node must be"):
            collection.search(tree, node)  # type: ignore[arg-type]
    for k in (0, -1, 2.5):
        with pytest.raises(RegionTreeError, match="k must be"):
            collection.search(tree, 3, k=k)  # type: ignore[arg-type]
    absent = made_up(82, no_data=True)
    with pytest.raises(CollectionError, match="node 5 has no data"):
        collection.search(absent, 5)
    y, x = np.argwhere(absent.labels == 5)[0].tolist()
    with pytest.raises(CollectionError, match="has no data"):
        collection.search(absent, point=(y, x))
    (tmp_path / "bad.npz").write_bytes(b"no tree")
    with pytest.raises(RegionTreeError, match=r"bad\.npz"):
        collection.search(tmp_path / "bad.npz")


# -- the command ----------------------------------------------------------------------------------


def command(*arguments: Any) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["like", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_command(collection: Collection, tmp_path: Path) -> None:
    code, printed, _ = command(collection.folder, "003", "--node", 2, "-k", 4)
    head, columns, *lines = printed.splitlines()
    assert code == 0
    assert head == "like node 2 (15.0% of its photograph)"
    assert columns.split() == ["photograph", "node", "share", "likeness"]
    found = collection.like("003", 2, k=4)
    assert [line.split()[:2] for line in lines] == [[one.photo, str(one.node)] for one in found]

    code, printed, _ = command(collection.folder, "003", "--point", "0,0", "-k", 4, "--json")
    (example,) = json.loads(printed)["examples"]
    assert code == 0
    assert [one["photo"] for one in example["like"]] == [
        one.photo for one in collection.like("003", point=(0, 0), k=4)
    ]
    made_up(90).save(tmp_path / "new.npz")
    _, printed, _ = command(collection.folder, tmp_path / "new.npz")
    assert printed.count("like node") == 6
    assert len(printed.splitlines()) == 6 * (2 + 20) + 5
    (tmp_path / "trees").rename(tmp_path / "moved")
    assert command(collection.folder, "003", "--node", 2)[0] == 2
    assert command(collection.folder, "003", "--node", 2, "--trees", tmp_path / "moved")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.jpg"], "neither a photograph of the collection nor a file"),
        (["003", "--point", "1"], "--point must be a row and a column"),
        (["003", "--point", "9,9"], "outside the image"),
        (["003", "--node", "2", "--point", "0,0"], "not both"),
        (["003", "--node", "99"], "node must be"),
        (["003", "-k", "0"], "k must be"),
    ],
)
def test_the_command_says_what_is_wrong(
    collection: Collection, arguments: list[str], said: str
) -> None:
    code, printed, told = command(collection.folder, *arguments)
    assert (code, printed) == (2, "")
    assert said in told
    assert len(told.splitlines()) == 1
