"""A tree in a notebook: true pictures, whole and harmless HTML, at any size of image."""

from __future__ import annotations

import base64
import io
import re
import time
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from trees import hand_tree, random_tree, trees

from regiontree import RegionTree
from regiontree.display.pictures import drawn_size, hierarchy_colors, nodes_of_leaves

VOID = {"br", "img"}


class Page(HTMLParser):
    """Tags that are open, the attributes of all, and the text; complains of what does not close."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    @property
    def pictures(self) -> list[tuple[str, np.ndarray]]:
        """(alt, pixels) of each."""
        found = []
        for tag, attributes in self.tags:
            if tag == "img":
                kind, data = attributes["src"].split(",")
                assert kind == "data:image/png;base64"
                picture = Image.open(io.BytesIO(base64.b64decode(data)))
                assert picture.width // 2 == int(attributes["width"])  # sharp on dense screens
                found.append((attributes["alt"], np.asarray(picture.convert("RGB"))))
        return found


@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_nodes_of_leaves_are_those_of_the_cut(tree):
    for count in (1, 3, 7):
        nodes = tree.cut_nodes(n_regions=count)
        cut = tree.cut(n_regions=count)
        assert np.array_equal(nodes_of_leaves(tree, nodes)[tree.labels], nodes[cut])
    for node in range(tree.n_nodes):
        inside = nodes_of_leaves(tree, np.array([node]))[tree.labels]
        assert np.array_equal(inside, np.where(tree.mask(node), node, -1))


def test_pictures_are_the_cuts_in_the_colours_of_all_pictures():
    tree = random_tree(np.random.default_rng(1), 90, (40, 50))
    page = Page(tree._repr_html_())
    colors = hierarchy_colors(tree)
    cuts = {len(tree.cut_nodes(n_regions=n)): n for n in (4, 16, 64)}
    assert [alt for alt, _ in page.pictures] == [f"{found} regions" for found in cuts]
    for (alt, pixels), count in zip(page.pictures, cuts.values(), strict=True):
        assert alt in page.text
        assert pixels.shape == (320, 400, 3)  # 8 drawn pixels a pixel
        expected = colors[tree.cut_nodes(n_regions=count)[tree.cut(n_regions=count)]]
        assert np.array_equal(pixels[4::8, 4::8], expected)  # amid each: borders are at the sides


def test_size_and_text_are_told():
    tree = hand_tree()
    page = Page(tree._repr_html_())
    assert repr(tree) in page.text
    assert str(tree) in page.text
    assert [tag for tag, _ in page.tags].count("details") == 1
    assert all("open" not in attributes for tag, attributes in page.tags if tag == "details")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>.jpg", 'a"b&amp;.jpg', "写真 é.jpg"])
def test_names_are_text(name):
    tree = RegionTree(labels=[[0]], parents=[0], height=[0.0], meta={"image": {"name": name}})
    page = Page(tree._repr_html_())
    assert page.text.startswith(name)
    assert "script" not in {tag for tag, _ in page.tags}


@pytest.mark.parametrize("image", ["photo.jpg", None, {"name": 3}, ["photo.jpg"]])
def test_meta_of_others_does_no_harm(image):
    tree = RegionTree(labels=[[0]], parents=[0], height=[0.0], meta={"image": image})
    assert Page(tree._repr_html_()).text.startswith("RegionTree of 1 x 1 pixels")


def test_it_needs_nothing_and_sets_no_colours():
    source = hand_tree()._repr_html_()
    styles = " ".join(attributes.get("style", "") for _, attributes in Page(source).tags)
    assert not re.search("color|background", styles)  # of the page's own, dark or light
    assert not re.search("https?:|//|<script|<link|<style", re.sub('base64,[^"]*', "", source))


def test_every_tree_can_be_shown():
    rows = np.arange(3000)[None] // 1000
    fan = {"parents": [3, 3, 3, 3], "height": [0, 0, 0, 1.0]}
    one = Page(RegionTree(labels=np.zeros((5, 9), int), parents=[0], height=[0])._repr_html_())
    assert [alt for alt, _ in one.pictures] == ["1 region"]
    for labels in (rows, rows.T):
        ((alt, pixels),) = Page(RegionTree(labels=labels, **fan)._repr_html_()).pictures
        assert alt == "3 regions"
        assert min(pixels.shape[:2]) >= 30  # not a hairline
    assert drawn_size((30, 40), 400) == (300, 400)


def test_it_stays_small_and_quick_whatever_the_tree():
    noise = random_tree(np.random.default_rng(0), 400, (500, 400))
    n = 600  # a chain: each inner node has a leaf and the next
    chain = RegionTree(
        labels=np.arange(n).reshape(20, 30),
        parents=[*range(n, 2 * n - 1), 2 * n - 2, *range(n + 1, 2 * n - 1), 2 * n - 2],
        height=[0] * n + [1] * (n - 1),
    )  # fmt: skip
    only = RegionTree(labels=[[0]], parents=[*range(1, n), n - 1], height=[0] * n)
    for tree in (noise, chain, only):
        assert len(tree._repr_html_()) < 150_000


def test_a_large_image_costs_no_more_than_its_picture():
    labels = np.zeros((6000, 6000), np.int32)
    labels[2000:, 3000:] = 1
    tree = RegionTree(labels=labels, parents=[2, 2, 2], height=[0, 0, 1])
    tree._repr_html_()  # what is computed once for a tree
    start = time.perf_counter()
    tracemalloc.start()
    try:
        tree._repr_html_()
        assert tracemalloc.get_traced_memory()[1] < 16e6  # labels alone are 144 MB
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 2.0


def test_a_notebook_shows_each_thing_once():
    reason = "needs a notebook kernel: nbformat, nbclient and ipykernel"
    nbformat = pytest.importorskip("nbformat", reason=reason)
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    cells = [
        "from regiontree import RegionTree\n"
        "tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])\n"
        "tree",
        "tree.show()",  # where pyplot was never imported,
        "import matplotlib.pyplot as plt\ntree.show()",  # and where it was
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    for cell, kind in zip(notebook.cells, ("text/html", "image/png", "image/png"), strict=True):
        (output,) = cell.outputs
        assert kind in output["data"]
