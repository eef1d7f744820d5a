"""Newick: read back by Biopython, node for node and length for length."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from trees import hand_tree, path_to_root, trees

from regiontree import RegionTree
from regiontree.export.newick import to_newick, write_newick


def read(text: str):
    phylo = pytest.importorskip("Bio.Phylo", reason="Biopython is not installed")
    return phylo.read(io.StringIO(text), "newick")


def number(clade) -> int:
    assert clade.name[0] == "n", "Biopython took the name for a support value"
    return int(clade.name[1:])


def chain(n_leaves: int) -> RegionTree:
    """A tree as deep as can be: each division splits one leaf off."""
    inner = np.arange(n_leaves, 2 * n_leaves - 1)
    parents = np.concatenate([[n_leaves], inner, inner[1:], inner[-1:]])
    height = np.concatenate([np.zeros(n_leaves), np.arange(1, n_leaves)])
    return RegionTree(np.arange(n_leaves)[None], parents, height)


def test_a_tree_known_by_heart():
    assert to_newick(hand_tree()) == "(n0:1,(n3:0.5,(n1:0.25,n2:0.25)n4:0.25)n5:0.5)n6;"


def test_a_tree_of_one_node():
    tree = RegionTree(np.zeros((1, 3), int), np.array([0]), np.array([0.5]))
    assert to_newick(tree) == "n0;"
    assert number(read("n0;").root) == 0


@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_biopython_finds_the_same_nodes_parents_and_heights(tree):
    """Random trees have divisions into one to four, and ties."""
    root = read(to_newick(tree)).root
    parents, distance = {number(root): number(root)}, {number(root): 0.0}
    stack = [root]
    while stack:
        clade = stack.pop()
        for child in clade.clades:
            assert number(child) not in parents
            parents[number(child)] = number(clade)
            distance[number(child)] = distance[number(clade)] + child.branch_length
            stack.append(child)
    assert [parents[i] for i in range(tree.n_nodes)] == tree.parents.tolist()
    heights = tree.height[tree.root] - [distance[i] for i in range(tree.n_nodes)]
    np.testing.assert_allclose(heights, tree.height, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(tree=trees())
def test_biopython_finds_the_same_leaves_below_each_node(tree):
    below = [set() for _ in range(tree.n_nodes)]
    for leaf in range(tree.n_leaves):
        for node in path_to_root(tree, leaf):
            below[node].add(leaf)
    for clade in read(to_newick(tree)).find_clades():
        assert {number(leaf) for leaf in clade.get_terminals()} == below[number(clade)]


def test_lengths_are_short_and_have_no_exponent():
    tree = RegionTree(
        np.array([[0, 1, 2]]), np.array([3, 3, 4, 4, 4]), np.array([0.7 - 1e-7, 0, 0, 0.7, 1])
    )
    assert to_newick(tree).count("n3:0.3") == 1
    assert "n0:0.000000" in to_newick(tree)
    assert "e-" not in to_newick(tree)


def test_a_tree_deeper_than_the_stack_of_python():
    tree = chain(5000)
    text = to_newick(tree)
    assert text.count("(") == text.count(")") == 4999
    assert text.endswith(":1,n4999:4999)n9998;")
    assert len(text) < 200_000


def test_a_node_with_very_many_children_takes_no_time():
    """Time that grows with the square of the children would be minutes."""
    leaves = 40_000
    height = np.append(np.zeros(leaves), 1.0)
    tree = RegionTree(np.arange(leaves)[None], np.full(leaves + 1, leaves), height)
    text = to_newick(tree)
    assert text.startswith("(n0:1,n1:1,")
    assert text.count(",") == leaves - 1


def test_the_file_is_one_line(tmp_path):
    path = write_newick(hand_tree(), tmp_path / "été" / "tree.nwk")
    assert path.read_text("ascii") == to_newick(hand_tree()) + "\n"
