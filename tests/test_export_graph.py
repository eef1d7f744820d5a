"""Graphs: read back from GraphML by NetworkX, node for node."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from trees import children_of, hand_tree, pixels_of, trees

from regiontree import RegionTree
from regiontree.errors import MissingExtraError
from regiontree.export.graph import node_attributes, to_networkx, write_graphml
from regiontree.tree.stop import StopReason

nx = pytest.importorskip("networkx", reason="the extra 'export' is not installed")


@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_the_graph_is_the_tree(tree):
    graph = to_networkx(tree)
    assert nx.is_arborescence(graph)
    assert list(graph.nodes) == list(range(tree.n_nodes))
    pixels = pixels_of(tree)
    level = nx.shortest_path_length(graph, tree.root)
    for node, said in graph.nodes(data=True):
        assert set(graph.successors(node)) == children_of(tree, node)
        assert said["area"] == len(pixels[node])
        assert said["level"] == level[node]
        assert np.float32(said["height"]) == tree.height[node]
        assert np.float32(said["ncut"]) == tree.ncut[node]
        assert StopReason[said["stop"].upper()] == tree.stop[node]


def test_attributes_are_of_types_that_every_format_takes():
    said = node_attributes(hand_tree(), 4)
    assert said == {"area": 2, "level": 2, "height": 0.25, "ncut": 0.0, "stop": "inner"}
    assert [type(value) for value in said.values()] == [int, int, float, float, str]
    assert node_attributes(hand_tree(), 0)["stop"] == "high_cut"


def test_heights_are_as_short_as_they_can_be():
    tree = RegionTree(np.array([[0, 1]]), np.array([2, 2, 2]), np.array([0.1, 0, 0.7]))
    assert [node_attributes(tree, node)["height"] for node in range(3)] == [0.1, 0.0, 0.7]


@settings(max_examples=25, deadline=None)
@given(tree=trees())
def test_graphml_read_back_is_the_graph_written(tree, tmp_path_factory):
    path = write_graphml(tree, tmp_path_factory.mktemp("graph") / "木.graphml")
    graph, written = nx.read_graphml(path, node_type=int), to_networkx(tree)
    assert isinstance(graph, nx.DiGraph)
    assert dict(graph.nodes(data=True)) == dict(written.nodes(data=True))
    assert set(graph.edges) == set(written.edges)


def test_graphml_is_valid_where_other_readers_look(tmp_path):
    """Keys are declared with the types that Gephi and Cytoscape go by."""
    root = ElementTree.parse(write_graphml(hand_tree(), tmp_path / "a.graphml")).getroot()
    space = "{http://graphml.graphdrawing.org/xmlns}"
    types = {key.get("attr.name"): key.get("attr.type") for key in root.iter(f"{space}key")}
    assert types.pop("area") in ("int", "long")
    assert types.pop("level") in ("int", "long")
    assert types == {"height": "double", "ncut": "double", "stop": "string"}
    (graph,) = root.iter(f"{space}graph")
    assert graph.get("edgedefault") == "directed"


def test_a_tree_of_one_node(tmp_path):
    tree = RegionTree(np.zeros((1, 3), int), np.array([0]), np.array([0.0]))
    graph = nx.read_graphml(write_graphml(tree, tmp_path / "a.graphml"), node_type=int)
    assert list(graph.nodes) == [0]
    assert not graph.edges


def test_without_networkx_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[export\]'"):
        write_graphml(hand_tree(), tmp_path / "a.graphml")
    assert not list(tmp_path.iterdir())
