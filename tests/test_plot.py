"""Figures say what they claim, in the colours of every other picture, and stay lines in files."""

from __future__ import annotations

import io
import pickle
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from conftest import EXAMPLE, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import children_of, hand_tree, path_to_root, random_tree, trees

from regiontree import RegionTree
from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import MissingExtraError, SettingsError, TreeError

mpl = pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
from matplotlib.collections import PathCollection  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import PathPatch, Rectangle  # noqa: E402

from regiontree.display.plot import (  # noqa: E402
    granularity_strip,
    hierarchy_map,
    overview,
    salient_figure,
    tree_figure,
)

FIGURES = (hierarchy_map, granularity_strip, tree_figure, salient_figure, overview)


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes]


def labels(figure: Figure) -> list[str]:
    """Text on the cards, in order."""
    return [text.get_text() for text in figure.axes[0].texts if text.get_zorder() == 4]


def shares(tree: RegionTree, nodes) -> Counter[str]:
    total = tree.shape[0] * tree.shape[1]
    return Counter(f"{tree.mask(node).sum() / total:.1%}" for node in nodes)


def down_to(tree: RegionTree, n_regions: int) -> set[int]:
    cut = tree.cut_nodes(n_regions=n_regions).tolist()
    return {above for node in cut for above in path_to_root(tree, node)}


def edges(figure: Figure) -> list[PathPatch]:
    """Of the tree: below the cards."""
    return [p for p in figure.axes[0].patches if isinstance(p, PathPatch) and p.get_zorder() < 4]


def cards(figure: Figure) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) of each, with its band."""
    frames = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    pairs = zip(frames[::2], frames[1::2], strict=True)
    return [
        (a.get_x(), a.get_y(), a.get_x() + a.get_width(), b.get_y() + b.get_height())
        for a, b in pairs
    ]


# -- maps and strips ------------------------------------------------------------------------------


def lowest_common(tree: RegionTree, i: int, j: int) -> int:
    above = path_to_root(tree, i)
    return next(node for node in path_to_root(tree, j) if node in above)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_leaves=st.integers(1, 20))
def test_borders_lie_where_regions_meet_each_at_the_division_that_parted_them(seed, n_leaves):
    tree = random_tree(np.random.default_rng(seed), n_leaves, (4, 8))
    (ax,) = hierarchy_map(tree).axes
    (lines,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    drawn = {}  # length by width and opacity, which are those of a height
    for path, width, color in zip(
        lines.get_paths(), lines.get_linewidths(), lines.get_edgecolors(), strict=True
    ):
        ends = path.vertices.reshape(-1, 2, 2)
        assert (np.abs(np.diff(ends, axis=1)) > 0).sum(axis=2).max() == 1  # along pixels' sides
        assert np.allclose(np.mod(path.vertices, 1), 0.5)
        length = np.abs(np.diff(ends, axis=1)).sum()
        key = (round(float(width), 6), round(float(color[3]), 6))
        drawn[key] = drawn.get(key, 0) + length
    expected: Counter[float] = Counter()
    for a, b in ((tree.labels[1:], tree.labels[:-1]), (tree.labels[:, 1:], tree.labels[:, :-1])):
        for i, j in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
            if i != j:
                expected[float(tree.height[lowest_common(tree, i, j)])] += 1
    by_height = [expected[height] for height in sorted(expected)]
    assert [drawn[key] for key in sorted(drawn)] == pytest.approx(by_height)


@pytest.mark.parametrize("n_regions", [1, 5, 100])
def test_plain_colours_are_those_of_the_nodes(n_regions):
    tree = random_tree(np.random.default_rng(2), 12, (20, 40))
    nodes = tree.cut_nodes(n_regions=n_regions)
    (ax,) = hierarchy_map(tree, n_regions=n_regions).axes
    pixels = np.asarray(ax.images[0].get_array())
    expected = hierarchy_colors(tree)[nodes[tree.cut(n_regions=n_regions)]]
    assert np.array_equal(pixels[8::16, 8::16], expected)  # 640 / 40 drawn pixels a pixel
    assert np.array_equal(pixels[0::16, 0::16], expected)  # borders are not in the picture


def test_the_photograph_shows_through():
    tree = hand_tree()
    dark, bright = (np.full((*tree.shape, 3), v, np.uint8) for v in (20, 230))
    shades = [hierarchy_map(tree, p).axes[0].images[0].get_array().mean() for p in (dark, bright)]
    assert shades[1] > shades[0] + 40


def test_a_map_counts_pixels_of_the_tree_and_explains_its_borders():
    tree = random_tree(np.random.default_rng(0), 9, (30, 50))
    figure = hierarchy_map(tree, n_regions=4, scale=True)
    ax, side = figure.axes[0], figure.axes[0].child_axes[0]
    assert ax.get_xlim() == (-0.5, 49.5)
    assert ax.get_ylim() == (29.5, -0.5)
    found = len(tree.cut_nodes(n_regions=4))
    assert titles(figure) == [f"{found} of 9 regions"]
    told = [float(label.get_text()) for label in side.get_yticklabels()]
    assert told[-1] == pytest.approx(float(tree.height[tree.root]), rel=0.01)
    widths = [line.get_linewidth() for line in side.lines]
    assert len(widths) == len(told)
    assert widths == sorted(widths)
    assert told == sorted(told)


def test_a_strip_has_a_panel_for_each_distinct_cut_and_tells_its_regions():
    tree = random_tree(np.random.default_rng(5), 30, (20, 20))  # divides into up to four
    counts = (2, 3, 4, 8, 16, 17, 500)
    found = sorted({len(tree.cut_nodes(n_regions=n)) for n in counts} - {1})
    assert found[-1] == 30
    said = [f"{n} regions" for n in found]
    assert titles(granularity_strip(tree, granularities=counts)) == said
    photo = np.zeros((20, 20, 3), np.uint8)
    figure = granularity_strip(tree, photo, granularities=counts)
    assert titles(figure) == ["photograph", *said]
    assert not np.asarray(figure.axes[0].images[0].get_array()).any()
    # side by side in order, within the figure
    lefts = [ax.get_position().x0 for ax in figure.axes]
    assert lefts == sorted(lefts)
    assert figure.axes[-1].get_position().x1 == pytest.approx(1.0)


# -- the tree -------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["level", "height"])
@settings(max_examples=15, deadline=None)
@given(tree=trees(max_leaves=16), n_regions=st.integers(1, 16))
def test_every_node_down_to_the_cut_hangs_where_it_belongs(axis, tree, n_regions):
    figure = tree_figure(tree, n_regions=n_regions, axis=axis)
    shown = down_to(tree, n_regions)
    colors = hierarchy_colors(tree)
    drawn = Counter(tuple(np.round(np.array(e.get_edgecolor()[:3]) * 255)) for e in edges(figure))
    assert drawn == Counter(tuple(colors[node].astype(float)) for node in shown - {tree.root})
    said = Counter(labels(figure))
    if axis == "level":
        assert said == shares(tree, shown)
    else:  # all leaves, and divisions where there is room: the root always
        cut = tree.cut_nodes(n_regions=n_regions).tolist()
        assert said >= shares(tree, {*cut, tree.root})
        assert said <= shares(tree, shown)
    assert len(figure.axes[0].images) == said.total() == len(cards(figure))


@pytest.mark.parametrize("axis", ["level", "height"])
@settings(max_examples=15, deadline=None)
@given(tree=trees(max_leaves=16))
def test_cards_overlap_neither_one_another_nor_the_frame(axis, tree):
    figure = tree_figure(tree, n_regions=20, axis=axis)
    (left, right), (bottom, top) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    placed = cards(figure)
    for i, (x, y, to_x, to_y) in enumerate(placed):
        assert left <= x < to_x <= right
        assert top <= y < to_y <= bottom
        for a, b, to_a, to_b in placed[:i]:
            assert to_x <= a + 1e-9 or to_a <= x + 1e-9 or to_y <= b + 1e-9 or to_b <= y + 1e-9


@pytest.mark.parametrize("top", [1.0, 4000.0])  # other programs' heights end anywhere
def test_by_height_divisions_lie_at_their_heights(top):
    hand = hand_tree()  # divisions at 1, 0.5 and 0.25, each into two
    tree = RegionTree(labels=hand.labels, parents=hand.parents, height=hand.height * top)
    figure = tree_figure(tree, axis="height")
    told = {
        float(text.get_text()) / top: text.get_position()[1]
        for text in figure.axes[0].texts
        if re.fullmatch(r"[\d.]+", text.get_text())
    }
    assert sorted(told)[0] == 0.0
    assert sorted(told)[-1] == 1.0
    unit = told[1.0] - told[0.0]
    assert unit < 0  # upwards
    assert [(y - told[0.0]) / unit for y in told.values()] == pytest.approx([*told])
    starts = [(edge.get_path().vertices[0, 1] - told[0.0]) / unit for edge in edges(figure)]
    assert sorted(starts) == pytest.approx([0.25, 0.25, 0.5, 0.5, 1.0, 1.0])


def test_by_height_a_card_that_would_hide_an_edge_is_left_out():
    # 10 over 9 and 7, 9 over 0 and 8: the edge from 10 to 9 runs just above 8.
    leaves = [0] * 8 + [1] * 2 + [2, 3, 4, 5, 6]

    def said(height_of_8: float) -> list[str]:
        tree = RegionTree(
            labels=[leaves],
            parents=[9, 8, 8, 7, 7, 7, 7, 10, 9, 10, 10],
            height=[0] * 7 + [0.1, height_of_8, 0.99, 1.0],
        )
        return labels(tree_figure(tree, axis="height"))

    assert "20.0%" not in said(0.98)
    assert "20.0%" in said(0.4)
    assert {"100.0%", "73.3%", "26.7%"} < set(said(0.98))


def test_by_level_parents_stand_over_their_children():
    tree = random_tree(np.random.default_rng(11), 16, (12, 12))
    figure = tree_figure(tree, n_regions=16)
    shown = sorted(down_to(tree, 16), reverse=True)
    middle = {}
    for node, (left, top, right, _) in zip(sorted(shown, reverse=True), cards(figure), strict=True):
        middle[node] = ((left + right) / 2, top)
    assert Counter(labels(figure)) == shares(tree, shown)
    rows = sorted({y for _, y in middle.values()})
    for node, (x, y) in middle.items():
        assert rows.index(y) == tree.level[node]
        below = [middle[c][0] for c in children_of(tree, node) if c in middle]
        if below:
            assert x == pytest.approx((min(below) + max(below)) / 2)


def test_chosen_nodes_hang_from_the_nearest_that_holds_them():
    tree = hand_tree()
    figure = tree_figure(tree, nodes=[2, 4, np.int64(2)])  # 6 holds 4, by way of 5, and 4 holds 2
    assert labels(figure) == ["100.0%", "25.0%", "12.5%"]
    assert [e.get_edgecolor()[:3] for e in edges(figure)] == [
        tuple(hierarchy_colors(tree)[node] / 255) for node in (2, 4)
    ]
    assert labels(tree_figure(tree, nodes=[])) == ["100.0%"]


def test_the_width_of_an_edge_grows_with_the_share_of_its_region():
    tree = RegionTree(labels=[[0] * 7 + [1] * 2 + [2]] * 10, parents=[3] * 4, height=[0, 0, 0, 1])
    figure = tree_figure(tree)
    widths = [edge.get_linewidth() for edge in edges(figure)]
    assert len(set(widths)) == 3
    assert {"70.0%", "20.0%", "10.0%"} <= {text.replace(" ", "") for text in labels(figure)}
    colors = [tuple(color) for color in hierarchy_colors(tree)[:3] / 255]
    widest = max(edges(figure), key=lambda edge: edge.get_linewidth())
    assert np.allclose(widest.get_edgecolor()[:3], colors[0], atol=0.01)


def test_a_card_shows_its_region_and_fades_the_rest():
    tree = RegionTree(labels=[[0] * 8 + [1] * 2] * 10, parents=[2, 2, 2], height=[0, 0, 1])
    red = np.zeros((10, 10, 3), np.uint8)
    red[..., 0] = 255
    whole, small, large = (np.asarray(i.get_array()) for i in tree_figure(tree, red).axes[0].images)
    is_red = [(p == (255, 0, 0)).all(axis=2) for p in (whole, large, small)]
    assert is_red[0].all()
    assert 0.7 < is_red[1].mean() < 0.9
    assert 0.1 < is_red[2].mean() < 0.3  # as high as the photograph
    rest = small[~is_red[2]].astype(int)
    assert np.ptp(rest, axis=1).max() < 40  # grey
    assert rest.min() > 180  # and light


def test_a_region_smaller_than_a_drawn_pixel_has_its_card():
    mask = np.zeros((3000, 9000), np.int32)
    mask[1501, 7001] = 1
    tree = RegionTree(labels=mask, parents=[2, 2, 2], height=[0, 0, 1])
    figure = tree_figure(tree)
    assert labels(figure) == ["100.0%", "<0.1%", "100.0%"]
    color = hierarchy_colors(tree)[1]
    assert (np.asarray(figure.axes[0].images[1].get_array()) == color).all(axis=2).any()


def test_salient_regions_come_in_order_with_area_and_height():
    tree = random_tree(np.random.default_rng(8), 25, (15, 15))
    nodes = tree.salient(7)
    assert labels(salient_figure(tree, k=7)) == [
        f"{tree.mask(node).mean():.1%}, height {tree.height[node]:.2f}" for node in nodes
    ]


# -- figures as Matplotlib's and notebooks' -------------------------------------------------------


def test_show_is_photograph_cut_hierarchy_and_tree():
    tree = random_tree(np.random.default_rng(4), 40, (30, 20))
    photo = np.zeros((30, 20, 3), np.uint8)
    found = len(tree.cut_nodes(n_regions=9))
    figure = tree.show(photo, n_regions=9)
    assert titles(figure) == ["photograph", f"{found} regions", "40 regions", ""]
    assert len(figure.axes[-1].images) == len(down_to(tree, 9))
    assert titles(tree.show(n_regions=9)) == [f"{found} regions", "40 regions", ""]


@pytest.mark.parametrize("draw", FIGURES)
def test_every_tree_can_be_drawn(draw):
    chain = RegionTree(
        labels=np.arange(60).reshape(6, 10),
        parents=[*range(60, 119), 118, *range(61, 119), 118],
        height=[0] * 60 + [1] * 59,
    )  # fmt: skip
    row = RegionTree(labels=np.arange(300)[None] // 100, parents=[3] * 4, height=[0] * 4)
    column = RegionTree(labels=np.arange(900)[:, None] // 450, parents=[2] * 3, height=[0, 0, 7])
    one = RegionTree(labels=np.zeros((3, 4), int), parents=[0], height=[0])
    for tree in (chain, row, column, one):
        for photo in (None, np.zeros((*tree.shape, 3), np.uint8)):
            figure = draw(tree, photo)
            width, height = figure.get_size_inches()
            assert min(width, height) > 0.3
            picture = Image.open(io.BytesIO(figure._repr_png_()))
            assert picture.width == pytest.approx(width * figure.dpi, abs=1)


@pytest.mark.parametrize(
    ("draw", "axis"), [(hierarchy_map, None), (tree_figure, "level"), (tree_figure, "height")]
)
def test_axes_that_are_given_are_drawn_into(draw, axis):
    given, own = Figure(figsize=(8, 4)), {"axis": axis} if axis else {}
    part = given.subfigures(1, 2)[1]
    ax = part.subplots()
    assert draw(hand_tree(), ax=ax, **own) is given
    assert ax.images
    assert given.get_axes() == [ax]


def test_text_shrinks_with_the_axes():
    def size(ax) -> float:
        tree_figure(hand_tree(), ax=ax)
        return ax.texts[0].get_fontsize()

    figure = Figure(figsize=(10, 10))
    large, small = figure.add_axes((0, 0, 0.4, 0.4)), figure.add_axes((0.5, 0.5, 0.1, 0.1))
    assert size(large) == pytest.approx(4 * size(small))


def test_in_files_only_photographs_are_pixels():
    tree = random_tree(np.random.default_rng(6), 12, (20, 30))
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    figure = tree_figure(tree, photo)
    cards_drawn = len(down_to(tree, 12))
    with mpl.rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        svg, pdf = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg")
        figure.savefig(pdf, format="pdf")
    source = svg.getvalue().decode("utf-8")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", source)
    assert sorted(texts) == sorted(labels(figure))
    assert source.count("<image ") == cards_drawn
    assert pdf.getvalue().startswith(b"%PDF")
    assert pdf.getvalue().count(b"/Subtype /Image") == cards_drawn
    assert b"/FontFile2" in pdf.getvalue()  # the font is embedded


def test_photographs_are_saved_as_finely_as_print_needs():
    figure = tree_figure(hand_tree(), np.zeros((2, 4, 3), np.uint8))
    width = {}
    for dpi in ({}, {"dpi": 50}):
        file = io.BytesIO()
        figure.savefig(file, format="png", **dpi)
        width[len(dpi)] = Image.open(file).width / figure.get_size_inches()[0]
    assert width == pytest.approx({0: 300, 1: 50}, rel=0.01)


def test_nothing_global_is_touched():
    """In a program of its own, for what is imported stays so."""
    code = """
import sys
import matplotlib
def settings():  # reading the backend would import pyplot
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}
before = settings()
import numpy as np
from regiontree import RegionTree, plot
tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])
for draw in (plot.hierarchy_map, plot.granularity_strip, plot.tree_figure, plot.overview):
    draw(tree, np.zeros((1, 2, 3), np.uint8))._repr_png_()
assert "matplotlib.pyplot" not in sys.modules
assert settings() == before
import matplotlib.pyplot as plt
tree.show()
assert plt.get_fignums() == []
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("error")  # layout engines warn of axes that are not theirs
@pytest.mark.parametrize("draw", [hierarchy_map, granularity_strip, tree_figure])
def test_settings_of_the_reader_do_not_break_figures(draw):
    odd = {"image.origin": "lower", "axes.grid": True, "figure.autolayout": True}
    tree = RegionTree(labels=[[0], [1]], parents=[2, 2, 2], height=[0, 0, 1])
    photo = np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8)
    plain = draw(tree, photo)._repr_png_()
    with mpl.rc_context(odd):
        assert draw(tree, photo)._repr_png_() == plain


def test_a_figure_can_be_pickled():
    figure = pickle.loads(pickle.dumps(tree_figure(hand_tree())))
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "regiontree.display.plot")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[plot\]'"):
        hand_tree().show()
    assert hand_tree()._repr_html_()  # a notebook's needs none


def test_wrong_requests_say_what_is_wrong():
    tree = hand_tree()
    with pytest.raises(SettingsError, match="axis must be 'level' or 'height', got 'depth'"):
        tree_figure(tree, axis="depth")
    with pytest.raises(TreeError, match="node 7 does not exist"):
        tree_figure(tree, nodes=[1, 7])
    with pytest.raises(TreeError, match=r"a node must be a whole number, got 1\.5"):
        tree_figure(tree, nodes=[1.5])
    with pytest.raises(SettingsError, match="granularities is empty"):
        granularity_strip(tree, granularities=())


def test_the_page_on_figures_is_true(tmp_path, monkeypatch):
    """Its code runs and makes the pictures it shows; on a small tree, to be quick."""
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    tree = random_tree(np.random.default_rng(0), 12, (8, 8))
    monkeypatch.setattr("regiontree.parse", lambda photo: tree, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "docs" / "images").mkdir(parents=True)
    Image.open(EXAMPLE).resize((8, 8)).save(tmp_path / "examples" / "astronaut.jpg")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.S):
        exec(compile(block, "figures.md", "exec"), names)  # our own file
    shown = re.findall(r"\]\((images/[^)]+)\)", page)
    assert len(shown) == 7
    for picture in shown:
        assert (tmp_path / "docs" / picture).is_file()
