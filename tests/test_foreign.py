"""Trees of other programs: any order of nodes, three kinds of file, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import hand_tree, trees

from regiontree.errors import TreeError, TreeFileError
from regiontree.tree import RegionTree
from regiontree.tree.foreign import read_any_tree


def regions(tree: RegionTree) -> set[bytes]:
    return {mask.tobytes() for mask in tree.masks()}


@given(trees(), st.integers(0, 2**32 - 1), st.booleans())
def test_nodes_may_come_in_any_order(tree: RegionTree, seed: int, minus_one: bool) -> None:
    order = np.random.default_rng(seed).permutation(tree.n_nodes)  # old node -> new name
    parents = np.empty(tree.n_nodes, int)
    parents[order] = order[tree.parents]
    height = np.empty(tree.n_nodes)
    height[order] = tree.height
    if minus_one:
        parents[order[tree.root]] = -1
    back = RegionTree.from_parents(order[tree.labels], parents, height)
    assert regions(back) == regions(tree)
    assert back.n_nodes == tree.n_nodes
    assert sorted(back.height.tolist()) == sorted(tree.height.tolist())
    # The same links: each region's parent region is the same.
    for i in range(tree.n_nodes):
        twin = next(j for j in range(back.n_nodes) if (back.mask(j) == tree.mask(i)).all()
                    and back.level[j] == tree.level[i])  # fmt: skip
        assert (back.mask(int(back.parents[twin])) == tree.mask(int(tree.parents[i]))).all()


def test_nodes_without_a_pixel_are_left_out() -> None:
    tree = RegionTree.from_parents([[1, 4]], [-1, 0, 0, 2, 2])  # leaf 3 is nowhere
    assert (tree.n_nodes, tree.n_leaves) == (4, 2)
    assert tree.mask(1).tolist() == [[False, True]]


def test_heights_fall_with_depth_where_none_are_given() -> None:
    tree = RegionTree.from_parents([[1, 3, 4]], [0, 0, 0, 2, 2])
    assert tree.height.tolist() == [0, 0, 0, 0.5, 1.0]
    assert tree.cut(n_regions=2).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("labels", "parents", "height", "said"),
    [
        ([[0, 1]], [1, 0], None, "one root"),
        ([[0, 1]], [-1, -1], None, "found 2"),
        ([[1, 2]], [-1, 2, 3, 1], None, "ancestor of itself"),
        ([[0, 1]], [2, 9, -1], None, "9 is not a node of 3"),
        ([[0, 5]], [2, 2, -1], None, "labels hold 0 to 5"),
        ([[-1, 0]], [2, 2, -1], None, "labels hold -1"),
        ([[0, 2]], [2, 2, -1], None, "label 2 is a node with children, and 1 pixels"),
        ([[0, 1]], [2, 2, -1], [0, 0], "3 numbers"),
        ([[0, 1]], [2, 2, -1], [0, 2, 1], "height of node 1 is 2, its parent's 1"),
        ([0, 1], [2, 2, -1], None, "labels must be 2-D"),
        ([[0.5, 1]], [2, 2, -1], None, "labels must be 2-D integers"),
        ([[0, 1]], [], None, "parents must be 1-D"),
    ],
)
def test_what_is_no_tree_is_refused(labels, parents, height, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TreeError, match=said):
        RegionTree.from_parents(labels, parents, height)


def test_every_kind_of_file_reads(tmp_path: Path) -> None:
    tree = hand_tree()
    links = {"parents": tree.parents.tolist(), "height": tree.height.tolist()}
    np.savez(tmp_path / "a.npz", labels=tree.labels, parents=tree.parents, height=tree.height)
    np.save(tmp_path / "b.npy", tree.labels)
    Image.fromarray(tree.labels.astype(np.uint8)).save(tmp_path / "c.png")
    Image.fromarray(tree.labels.astype(np.uint16)).save(tmp_path / "d.png")
    Image.fromarray(tree.labels).save(tmp_path / "e.tif")
    for stem in "bcde":
        (tmp_path / f"{stem}.json").write_text(json.dumps(links))
    tree.save(tmp_path / "f.npz")
    for name in ("a.npz", "b.npy", "c.png", "d.png", "e.tif", "f.npz"):
        back = read_any_tree(tmp_path / name)
        assert np.array_equal(back.labels, tree.labels), name
        assert np.array_equal(back.parents, tree.parents), name
        assert np.array_equal(back.height, tree.height), name
    assert read_any_tree(tmp_path / "f.npz").meta == tree.meta


def test_bad_files_are_named(tmp_path: Path) -> None:
    def refuses(name: str, said: str) -> None:
        with pytest.raises(TreeFileError, match=said) as caught:
            read_any_tree(tmp_path / name)
        assert name.split(".")[0] in str(caught.value)

    np.savez(tmp_path / "a.npz", labels=np.zeros((2, 2), int))
    refuses("a.npz", "no array 'parents'")
    np.savez(tmp_path / "b.npz", labels=np.array([[object()]]), parents=np.array([0]))
    refuses("b.npz", "cannot be read")  # pickled objects are not opened
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04")
    refuses("c.npz", "damaged|cannot be read")
    np.save(tmp_path / "d.npy", np.zeros((2, 2), int))
    refuses("d.npy", r"d\.json: no such file")
    (tmp_path / "d.json").write_text("{")
    refuses("d.npy", "cannot be read")
    (tmp_path / "d.json").write_text('{"parent": []}')
    refuses("d.npy", "must be an object with parents")
    Image.new("RGB", (2, 2)).save(tmp_path / "e.png")
    (tmp_path / "e.json").write_text('{"parents": [0]}')
    refuses("e.png", "is a RGB picture")
    (tmp_path / "f.png").write_bytes(b"nothing")
    refuses("f.png", "cannot be read")
