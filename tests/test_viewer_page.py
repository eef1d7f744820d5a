"""The viewer page: what it is sent, and what a browser makes of it."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import children_of, hand_tree, path_to_root, random_tree

from regiontree import RegionTree, StopReason, __version__
from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import SettingsError, TreeError
from regiontree.forest.saved import TreeFile
from regiontree.forest.sources import Source
from regiontree.images import nearest
from regiontree.viewer import page as viewer
from regiontree.viewer.page import Links, page_html, payload

pytest_plugins = ["browser"]

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--.jpg"
ALONE = Links()


def source_of(tree: RegionTree, folder: Path, *, photo: bool = True, notice=None) -> Source:
    """A tree with a photograph of random colours, of the tree's own size."""
    file = folder / "photo.png"
    if photo:
        colors = np.random.default_rng(0).integers(0, 256, (*tree.shape, 3), dtype=np.uint8)
        Image.fromarray(colors).save(file)
    return Source(tree, TreeFile(folder / "photo.npz"), file if photo else None, notice)


def named(tree: RegionTree, name: str = "photo.png", **meta) -> RegionTree:
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, tree.embedding)
    return RegionTree(*arrays, {"image": {"name": name}, **meta})


def blocky(n_leaves: int, seed: int, scale: int = 12) -> RegionTree:
    """A random tree of any shape whose pixels are blocks, large enough to be pointed at."""
    tree = random_tree(np.random.default_rng(seed), n_leaves, (9, 12))
    labels = np.kron(tree.labels, np.ones((scale, scale), np.int32))
    stability = np.random.default_rng(seed).random(tree.n_nodes).astype(np.float16)
    return RegionTree(labels, tree.parents, tree.height, tree.ncut, tree.stop, stability=stability)


@pytest.fixture
def show(page, tmp_path):
    """Opens the page of a tree from disk and waits until it is drawn."""

    def opened(tree: RegionTree, *, links: Links = ALONE, longest: int = 1600, **source):
        html = page_html(source_of(tree, tmp_path, **source), longest=longest, links=links)
        file = tmp_path / "page.html"
        file.write_text(html, encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        return page

    return opened


def state(page, key: str):
    return page.evaluate(f"viewer.state.{key}")


def cut_of(page, shape: tuple[int, int]) -> np.ndarray:
    """The page's region of each pixel of its view."""
    regions = page.evaluate("""(() => {
        const numbers = viewer.tree.regionNumbers(viewer.state.m);
        return Array.from(viewer.view.labels, (leaf) => numbers[leaf]);
    })()""")
    return np.array(regions).reshape(shape)


def go_to(page, k: int) -> None:
    page.evaluate(f"viewer.state.setCut(viewer.tree.steps[viewer.tree.stepOf({k})])")


def pixels_of(page) -> np.ndarray:
    """What is drawn over the photograph, (h, w, 4)."""
    page.evaluate("viewer.drawFrame(performance.now())")
    url = page.evaluate("document.getElementById('regions').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def at_pixel(page, y: int, x: int) -> tuple[float, float]:
    """Where on the screen pixel (row y, column x) of the view lies."""
    box = page.locator("#regions").bounding_box()
    h, w = page.evaluate("[viewer.view.height, viewer.view.width]")
    return box["x"] + (x + 0.5) / w * box["width"], box["y"] + (y + 0.5) / h * box["height"]


def in_tree(page, across: float, down: float) -> tuple[float, float]:
    box = page.locator("#icicle").bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def download(page, button: str) -> tuple[str, bytes]:
    with page.expect_download() as caught:
        page.click(button)
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()


# -- what is sent ---------------------------------------------------------------------------------


def test_the_payload_is_json_and_holds_the_tree(tmp_path):
    tree = named(random_tree(np.random.default_rng(3), 9, (8, 10), dim=3), natural_height=0.25)
    data = payload(source_of(tree, tmp_path))
    assert json.loads(json.dumps(data))["name"] == "photo.png"
    labels = np.frombuffer(zlib.decompress(base64.b64decode(data["labels"])), "<u2")
    assert np.array_equal(labels.reshape(data["view"]), tree.labels)
    assert data["parents"] == tree.parents.tolist()
    assert data["area"] == tree.area.tolist()
    np.testing.assert_allclose(data["height"], tree.height, rtol=1e-3)
    assert bytes.fromhex(data["colors"]) == hierarchy_colors(tree).tobytes()
    assert data["reasons"][int(StopReason.INNER)] == "divided"
    nodes = tree.cut_nodes()
    divided = {i for node in nodes.tolist() for i in path_to_root(tree, node)[1:]}
    assert set(data["divisions"][: data["natural"]]) == divided


def test_means_are_of_the_nodes_pixels(tmp_path):
    tree = random_tree(np.random.default_rng(5), 7, (6, 9))
    source = source_of(tree, tmp_path)
    means = np.frombuffer(bytes.fromhex(payload(source)["means"]), np.uint8).reshape(-1, 3)
    for node in range(tree.n_nodes):
        mean = source.picture()[tree.mask(node)].mean(axis=0)
        np.testing.assert_allclose(means[node], mean, atol=0.501)


def test_the_embedded_file_is_the_tree_and_sheds_its_embedding_when_it_is_large(
    tmp_path, monkeypatch
):
    tree = named(random_tree(np.random.default_rng(4), 9, (8, 10), dim=16))

    source = source_of(tree, tmp_path)
    tree.save(source.path)

    def sent() -> tuple[RegionTree, bool]:
        data = payload(source)
        (tmp_path / "sent.npz").write_bytes(base64.b64decode(data["tree"]))
        return RegionTree.load(tmp_path / "sent.npz"), data["whole"]

    assert sent() == (tree, True)
    monkeypatch.setattr(viewer, "_MAX_EMBEDDED", 100)
    lighter, whole = sent()
    assert not whole
    assert lighter.embedding is None
    assert np.array_equal(lighter.labels, tree.labels)
    assert lighter.meta == tree.meta


def test_links_take_the_place_of_what_would_be_embedded(tmp_path):
    links = Links(tree="photo.npz", photo="photo.jpg")
    data = payload(source_of(hand_tree(), tmp_path), links=links)
    assert data["tree"] is None
    assert data["photo"] == "photo.jpg"
    assert data["links"]["tree"] == "photo.npz"


def test_a_view_is_scaled_to_the_longest_side(tmp_path):
    tree = blocky(9, 1)
    data = payload(source_of(tree, tmp_path), longest=36)
    assert tuple(data["view"]) == (27, 36)
    labels = np.frombuffer(zlib.decompress(base64.b64decode(data["labels"])), "<u2")
    assert np.array_equal(labels.reshape(27, 36), nearest(tree.labels, (27, 36)))
    assert "Shown at 36 × 27 pixels; the image has 144 × 108." in data["notices"]


def test_a_photograph_that_cannot_be_read_is_left_out_and_told(tmp_path):
    source = source_of(hand_tree(), tmp_path)
    (tmp_path / "photo.png").write_bytes(b"no picture")
    data = payload(source)
    assert data["photo"] is None
    assert data["means"] is None
    assert any("photo.png: is not an image" in notice for notice in data["notices"])


@pytest.mark.parametrize("longest", [0, -1, 70_000, 2.5, True])
def test_a_longest_side_that_makes_no_sense_is_refused(longest, tmp_path):
    with pytest.raises(SettingsError, match="longest must be a whole number"):
        payload(source_of(hand_tree(), tmp_path), longest=longest)


def test_a_natural_height_that_is_no_number_is_refused(tmp_path):
    tree = named(hand_tree(), natural_height="low")
    with pytest.raises(TreeError, match="height must be a number"):
        page_html(source_of(tree, tmp_path))


def test_the_policy_allows_this_script_and_style_and_no_network(tmp_path):
    html = page_html(source_of(hand_tree(), tmp_path))
    policy = html.partition('Content-Security-Policy" content="')[2].partition('"')[0]
    assert policy.startswith("default-src 'none'; img-src data: blob:; ")
    assert "unsafe" not in policy
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")  # a name, not an address


# -- names are data -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [HOSTILE, "Größe 写真 🌲.jpg", "a\udce9\x00b.jpg", "@@DATA@@.jpg"])
def test_names_and_notices_are_shown_as_they_are_and_never_run(name, show, page):
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    show(named(hand_tree(), name, software=name), notice=name)
    text = name.encode("utf-8", "replace").decode()
    shown = page.evaluate("document.getElementById('name').textContent")
    assert shown.encode("utf-8", "replace").decode() == text
    assert page.locator("#notices p").count() == 2
    assert page.locator("main img").count() == 1
    assert page.locator("script").count() == 2
    assert page.title().endswith("· regiontree")
    assert not dialogs


# -- cuts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_pages_cuts_are_pythons(seed, show):
    """Trees of any shape: ties, divisions into one and into four."""
    tree = named(random_tree(np.random.default_rng(seed), 20, (9, 11)), natural_height=0.5)
    page = show(tree)
    assert np.array_equal(cut_of(page, tree.shape), tree.cut())
    assert page.locator("#natural").get_attribute("aria-pressed") == "true"
    for k in range(1, 22):
        go_to(page, k)
        assert np.array_equal(cut_of(page, tree.shape), tree.cut(n_regions=k))


def test_a_scaled_view_is_cut_as_the_image_is(show):
    tree = blocky(30, 2)
    page = show(tree, longest=50)
    for k in (1, 4, 9, 30):
        go_to(page, k)
        shape = tuple(page.evaluate("viewer.data.view"))
        assert np.array_equal(cut_of(page, shape), nearest(tree.cut(n_regions=k), shape))


def test_keys_visit_every_cut_there_is_and_no_other(show):
    tree = random_tree(np.random.default_rng(8), 24, (9, 11))
    counts = sorted({len(tree.cut_nodes(n_regions=k)) for k in range(1, 25)})
    page = show(tree)
    page.focus("#slider")
    page.keyboard.press("Home")
    for keys in (("ArrowRight", "ArrowLeft"), ("+", "-")):
        seen = [int(page.inner_text("#count b"))]
        for _ in counts[1:]:
            page.keyboard.press(keys[0])
            seen.append(int(page.inner_text("#count b")))
        assert seen == counts
        page.keyboard.press(keys[0])  # nowhere to go
        assert int(page.inner_text("#count b")) == counts[-1]
        for _ in counts[1:]:
            page.keyboard.press(keys[1])
        assert int(page.inner_text("#count b")) == 1
    page.keyboard.press("End")
    assert page.get_attribute("#slider", "aria-valuetext") == "24 regions"


def test_the_slider_is_even_to_the_eye_and_natural_returns(show):
    tree = blocky(64, 6, scale=4)
    page = show(named(tree, natural_height=0.3))
    box = page.locator("#slider").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # In the middle of a logarithmic scale lies the square root.
    assert len(tree.cut_nodes(n_regions=8)) == int(page.inner_text("#count b"))
    natural = named(tree, natural_height=0.3).cut()
    assert not np.array_equal(cut_of(page, tree.shape), natural)
    page.click("#natural")
    assert np.array_equal(cut_of(page, tree.shape), natural)
    page.keyboard.press("+")
    page.keyboard.press("n")
    assert np.array_equal(cut_of(page, tree.shape), natural)


def test_playing_goes_on_by_itself_and_stops_when_told(show):
    page = show(blocky(40, 6, scale=4))
    go_to(page, 20)
    at_first = state(page, "m")
    page.click("#play")
    page.wait_for_timeout(1000)
    page.click("#play")
    m = state(page, "m")
    assert m > at_first
    page.wait_for_timeout(500)
    assert state(page, "m") == m
    assert page.inner_text("#play") == "Play"


# -- what is drawn --------------------------------------------------------------------------------


def test_borders_lie_where_regions_of_the_cut_meet_and_nowhere_else(show):
    tree = blocky(14, 3)
    page = show(tree)
    for k in (2, 5, 14):
        go_to(page, k)
        drawn = pixels_of(page)
        labels = tree.cut(n_regions=k)
        meet = np.zeros(tree.shape, bool)
        meet[:, :-1] |= labels[:, :-1] != labels[:, 1:]
        meet[:-1] |= labels[:-1] != labels[1:]
        # Elsewhere a region has one colour: that of its node.
        for j, node in enumerate(tree.cut_nodes(n_regions=k)):
            inside = drawn[(labels == j) & ~meet]
            if len(inside) and node != tree.root:
                assert len(np.unique(inside, axis=0)) == 1
                color = hierarchy_colors(tree)[node].astype(int)
                assert abs(inside[0, :3].astype(int) - color).max() <= 2
                assert (drawn[(labels == j) & meet] != inside[0]).any(axis=1).all()


def test_undivided_the_photograph_is_left_alone(show):
    page = show(blocky(14, 3))
    go_to(page, 1)
    assert not pixels_of(page).any()


def test_looks_change_what_they_say(show):
    tree = blocky(14, 3)
    page = show(tree)
    go_to(page, 6)
    before = pixels_of(page)
    page.check("input[value=distinct]", force=True)
    distinct = pixels_of(page)
    assert len(np.unique(distinct.reshape(-1, 4), axis=0)) >= 6
    assert not np.array_equal(distinct, before)
    page.uncheck("#borders")
    flat = pixels_of(page)
    assert len(np.unique(flat.reshape(-1, 4), axis=0)) == len(tree.cut_nodes(n_regions=6))
    page.fill("#opacity", "0")
    assert not pixels_of(page)[:, :, 3].any()
    assert page.is_visible("#photo")
    page.uncheck("#shown")
    assert page.is_hidden("#photo")


def test_a_selection_dims_the_rest_and_is_outlined(show):
    tree = blocky(14, 3)
    page = show(tree)
    go_to(page, 6)
    node = next(n for n in tree.cut_nodes(n_regions=6).tolist() if tree.area[n] < tree.labels.size)
    page.evaluate(f"viewer.state.select({node})")
    drawn, mask = pixels_of(page), tree.mask(node)
    outside = drawn[~mask]
    assert len(np.unique(outside, axis=0)) == 1
    assert outside[0, :3].max() < 20
    assert 150 < outside[0, 3] < 190
    edge = mask.copy()
    padded = np.pad(mask, 1)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        edge &= padded[dy : dy + mask.shape[0], dx : dx + mask.shape[1]]
    assert (drawn[mask & ~edge] == 255).all()


# -- pointing and walking -------------------------------------------------------------------------


def test_hover_and_click_take_the_region_of_the_cut_and_again_its_child(show):
    tree = blocky(30, 11)
    page = show(tree)
    go_to(page, 5)
    nodes, labels = tree.cut_nodes(n_regions=5).tolist(), tree.cut(n_regions=5)
    y, x = 54, 70
    page.mouse.move(*at_pixel(page, y, x))
    region = nodes[labels[y, x]]
    assert state(page, "hovered") == region
    assert page.inner_text("#region") == f"Region {region}"
    descent = [node for node in reversed(tree.at(y, x)) if node <= region]
    for node in descent:
        page.mouse.click(*at_pixel(page, y, x))
        assert state(page, "selected") == node
    page.mouse.click(*at_pixel(page, y, x))  # at the leaf it stays
    assert state(page, "selected") == descent[-1]
    page.mouse.move(5, 5)
    assert state(page, "hovered") == -1


def test_arrows_walk_the_tree_and_down_returns_the_way_it_came(show):
    page = show(hand_tree())  # 6: (0, 5: (3, 4: (1, 2)))
    page.focus("#tree")

    def after(key: str) -> int:
        page.keyboard.press(key)
        return state(page, "selected")

    page.evaluate("viewer.state.select(2)")
    assert [after("ArrowUp") for _ in range(4)] == [4, 5, 6, 6]
    assert [after("ArrowDown") for _ in range(4)] == [5, 4, 2, 2]
    assert [after(key) for key in ("ArrowLeft", "ArrowLeft", "ArrowRight")] == [1, 1, 2]
    assert after("Escape") == -1
    assert after("ArrowDown") in tree_cut_of(hand_tree())  # the largest region of the cut
    page.evaluate("viewer.state.select(6)")
    page.evaluate("viewer.state.select(5)")
    assert after("ArrowDown") == 4
    page.keyboard.press("Escape")
    page.focus("#natural")
    assert after("ArrowDown") == -1  # elsewhere, with nothing selected, arrows scroll the page


def tree_cut_of(tree: RegionTree) -> list[int]:
    return tree.cut_nodes().tolist()


def test_the_icicle_and_the_photograph_are_one(show):
    """Of the hand-made tree: 0 is the upper half of the icicle, 3 and 4 share the lower one."""
    page = show(hand_tree())
    for across, down, node in [(0.02, 0.5, 6), (0.98, 0.25, 0), (0.98, 0.6, 3), (0.98, 0.8, 1)]:
        page.mouse.move(*in_tree(page, across, down))
        assert state(page, "hovered") == node
        assert page.inner_text("#region") == ("Whole image" if node == 6 else f"Region {node}")
    drawn = pixels_of(page)
    lit = (drawn == [255, 255, 255, 230]).all(axis=2)
    assert np.array_equal(lit, hand_tree().mask(1))  # a region as thin as its outline
    page.mouse.click(*in_tree(page, 0.98, 0.6))
    assert state(page, "selected") == 3
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("viewer.state.select(1)")
    page.evaluate("viewer.drawFrame(performance.now())")
    page.mouse.click(*in_tree(page, 0.99, 0.5))  # a small selection comes to the middle
    assert state(page, "selected") == 1


def test_the_panel_says_what_python_says(show):
    tree = blocky(20, 12)
    page = show(tree)
    for node in (0, 7, tree.n_leaves + 2, tree.root):
        page.evaluate(f"viewer.state.select({node})")
        told = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(),
                        strict=True))  # fmt: skip
        assert told["Area"].startswith(f"{tree.area[node]:,} pixel")
        assert told["Depth"] == f"{tree.level[node]} of {tree.depth}"
        assert float(told["Height"]) == pytest.approx(tree.height[node], rel=0.01)
        below = tree.n_below(node)
        assert told["Below"] == (f"{below} node" if below == 1 else f"{below} nodes")
        if node < tree.n_leaves:
            assert told["Ends"] == StopReason(tree.stop[node]).sentence
        else:
            assert told["Divided"].startswith(f"into {len(children_of(tree, node))} region")
        if node == tree.root:
            assert "Normalised cut" not in told
        else:
            assert float(told["Normalised cut"]) == pytest.approx(tree.ncut[node], rel=0.01)
        if tree.stop[node] == StopReason.REST:
            assert "Stability" not in told
        else:
            assert float(told["Stability"]) == pytest.approx(tree.stability[node], abs=0.006)
        assert page.locator("#path li").count() == len(path_to_root(tree, node))
    page.evaluate("viewer.state.select(0)")
    page.locator("#path button").nth(1).click()
    assert state(page, "selected") == path_to_root(tree, 0)[-2]


# -- downloads ------------------------------------------------------------------------------------


def test_downloads_are_pythons_own(show, tmp_path):
    tree = named(random_tree(np.random.default_rng(9), 15, (13, 17)), "Größe 1.jpg")
    page = show(tree)
    assert page.is_disabled("#save-mask")
    go_to(page, 9)
    page.evaluate("viewer.state.select(15)")
    name, data = download(page, "#save-mask")
    assert name == "Größe 1.mask-15.png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), 255 * tree.mask(15))
    name, data = download(page, "#save-cut")
    cut = Image.open(io.BytesIO(data))
    assert cut.mode == "I;16"
    assert np.array_equal(np.asarray(cut), tree.cut(n_regions=9) + 1)
    assert name == f"Größe 1.cut-{len(tree.cut_nodes(n_regions=9)):03}.png"
    name, data = download(page, "#save-tree")
    assert name == "Größe 1.jpg.npz"
    (tmp_path / "back.npz").write_bytes(data)
    assert RegionTree.load(tmp_path / "back.npz") == tree


def test_links_are_used_where_they_are_given(show, page):
    page.add_init_script(
        "HTMLAnchorElement.prototype.click = function () { (window.asked ??= []).push(this.href) }"
    )
    links = Links(tree="t.npz", mask="mask/{node}.png", cut="cut/{regions}.png")
    show(blocky(9, 4), links=links, longest=60)
    page.evaluate("viewer.state.select(3)")
    go_to(page, 1)
    for button in ("#save-mask", "#save-cut", "#save-tree"):
        page.click(button)
    asked = page.evaluate("asked")
    assert [url.rpartition("/page.html")[0] or url for url in asked] == asked
    assert [url.split("/")[-2:] for url in asked[:2]] == [["mask", "3.png"], ["cut", "1.png"]]
    assert asked[2].endswith("/t.npz")
    assert page.inner_text("#scale") == ""


def test_a_scaled_view_says_so_beside_the_downloads(show):
    page = show(blocky(9, 4), longest=72)
    assert page.inner_text("#scale") == "Images as shown here, 72 × 54 pixels."
    assert "Shown at 72 × 54 pixels" in page.inner_text("#notices")


def test_a_linked_photograph_is_shown_from_disk(show):
    page = show(blocky(9, 4), links=Links(photo="photo.png"))
    assert page.evaluate("document.getElementById('photo').naturalWidth") == 144


# -- surroundings ---------------------------------------------------------------------------------


def test_previous_index_and_next(show, tmp_path):
    for name in ("before", "after"):
        (tmp_path / f"{name}.html").write_text(f"<!doctype html><title>{name}</title>")
    links = Links(index="index.html", previous="before.html", next="after.html")
    page = show(hand_tree(), links=links)
    assert page.locator("#links a").all_inner_texts() == ["← Previous", "All images", "Next →"]
    page.keyboard.press("]")
    page.wait_for_url("**/after.html")
    page.go_back()
    page.wait_for_selector("html[data-ready]")
    page.keyboard.press("[")
    page.wait_for_url("**/before.html")


def test_alone_a_page_has_no_links_and_nothing_to_notice(show):
    page = show(named(hand_tree(), software=f"regiontree {__version__}"))
    assert page.is_hidden("#links")
    assert page.is_hidden("#notices")
    assert page.is_hidden("#pieces")


def test_what_is_wrong_is_noticed(show):
    tree = named(hand_tree(), "gone.jpg", software="regiontree 0.0.1")
    page = show(tree, photo=False, notice="The photograph gone.jpg was not found.")
    told = page.locator("#notices p").all_inner_texts()
    assert told[0] == "The photograph gone.jpg was not found."
    assert told[1] == f"This tree was made by regiontree 0.0.1; this page by regiontree {__version__}."  # fmt: skip  # noqa: E501
    assert page.is_disabled("#shown")
    assert page.is_disabled("input[value=means]")
    assert page.is_hidden("#photo")


# -- extremes -------------------------------------------------------------------------------------


def test_one_region_is_said_to_be_one(show):
    page = show(RegionTree(labels=np.zeros((20, 30)).astype(int), parents=[0], height=[0.0]))
    assert page.is_disabled("#slider")
    assert page.inner_text("#count") == "1 region only: the image was not divided"
    page.mouse.click(*at_pixel(page, 10, 10))
    assert page.inner_text("#region") == "Whole image"
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft", "+", "-"):
        page.keyboard.press(key)
    assert state(page, "selected") == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_images_of_a_line_or_a_pixel_are_shown_and_can_be_pointed_at(shape, show):
    n = min(40, shape[0] * shape[1])
    tree = random_tree(np.random.default_rng(1), n, shape)
    page = show(tree)
    go_to(page, n)
    y, x = shape[0] // 2, shape[1] // 2
    page.mouse.click(*at_pixel(page, y, x))
    assert state(page, "selected") == tree.cut_nodes(n_regions=n)[tree.cut(n_regions=n)[y, x]]


def test_thousands_of_flat_leaves(show):
    n = 70_000  # more than 16 bits hold: 32-bit labels, and no PNG of the cut
    tree = RegionTree(
        labels=np.arange(n).reshape(280, 250), parents=np.full(n + 1, n), height=[0.0] * n + [1.0]
    )
    page = show(tree)
    assert page.is_disabled("#save-cut")
    assert page.evaluate("viewer.view.labels[69999]") == 69_999
    page.evaluate("viewer.state.select(35000)")
    assert page.get_attribute("#node-35000", "aria-posinset") == "35001"
    assert page.locator("[role=treeitem]").count() < 100


# -- for everyone ---------------------------------------------------------------------------------


def test_the_tree_can_be_heard(show):
    page = show(hand_tree())
    page.focus("#tree")
    page.evaluate("viewer.state.select(4)")
    item = page.locator("#node-4")
    assert page.get_attribute("#tree", "aria-activedescendant") == "node-4"
    assert page.get_by_role("tree", name="Tree of regions").count() == 1
    want = {"aria-level": "3", "aria-setsize": "2", "aria-posinset": "2", "aria-selected": "true",
            "aria-expanded": "true"}  # fmt: skip
    assert {name: item.get_attribute(name) for name in want} == want
    live = page.inner_text("#live")
    assert live.startswith("Region 4: 25\xa0% of the image, depth 2 of 3, height 0.25")
    page.keyboard.press("ArrowDown")
    assert "ends a single part" in page.inner_text("#live")
    page.keyboard.press("Escape")
    assert page.inner_text("#live") == "Nothing selected."


def test_everything_is_reached_with_tab_and_seen_to_be(show):
    page = show(blocky(9, 4), links=Links(index="i.html", previous="p.html", next="n.html"))
    page.evaluate("viewer.state.select(3)")
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                  const here = document.activeElement;
                  const drawn = here.matches("[name=colors]") ? here.nextElementSibling : here;
                  return [here.id || here.value || here.tagName,
                          getComputedStyle(drawn).outlineStyle,
                          here.ariaLabel || here.labels?.[0]?.innerText || here.innerText];
                }"""
            )
        )
        if seen[-1][0] == "BODY":
            break
    stops = {name for name, *_ in seen} - {"BODY"}
    assert {"previous", "index", "next", "slider", "play", "natural", "tree", "clear", "save-mask",
            "save-cut", "save-tree", "SUMMARY", "hierarchy", "opacity", "borders",
            "shown"} <= stops  # fmt: skip
    for name, outline, label in seen:
        if name != "BODY":
            assert outline == "solid", name
            assert label.strip(), name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(scheme, show, page):
    page.emulate_media(color_scheme=scheme)
    show(hand_tree(), notice="The photograph x.jpg was not found.")

    def luminance(selector: str, what: str) -> float:
        text = page.evaluate(
            f"getComputedStyle(document.querySelector({selector!r})).{what}"
        )  # rgb(…)
        channels = np.array([int(v) for v in text[4:-1].split(",")]) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for selector, ground in [("h1", "body"), ("#facts", "body"), ("#notices", "#notices"),
                             ("#natural", "#natural"), ("#reading", "body"),
                             (".choice span", ".choice")]:  # fmt: skip
        pair = sorted([luminance(selector, "color"), luminance(ground, "backgroundColor")])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, selector  # WCAG 2.2, 1.4.3
    dark = luminance("body", "backgroundColor") < 0.1
    assert dark == (scheme == "dark")


def test_on_a_phone_the_tree_is_below_the_photograph_and_a_tap_selects(browser, tmp_path):
    tree = named(blocky(30, 11), "a name that is long enough to go over more than one line.jpg")
    links = Links(index="i.html", previous="p.html", next="n.html")
    file = tmp_path / "page.html"
    file.write_text(page_html(source_of(tree, tmp_path), links=links), encoding="utf-8")
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    photo, icicle = (page.locator(name).bounding_box() for name in ("#frame", "#icicle"))
    assert photo["width"] > 300
    assert icicle["y"] > photo["y"] + photo["height"]
    go_to(page, 5)
    page.touchscreen.tap(*at_pixel(page, 54, 70))
    nodes, labels = tree.cut_nodes(n_regions=5), tree.cut(n_regions=5)
    assert state(page, "selected") == nodes[labels[54, 70]]
    assert state(page, "hovered") == -1
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("#icicle").scroll_into_view_if_needed()
    page.touchscreen.tap(*in_tree(page, 0.02, 0.5))
    assert state(page, "selected") == tree.root
    context.close()


def test_motion_is_spared_whom_it_troubles(show, page):
    tree = blocky(30, 11)
    show(tree)
    leaf = int(np.argmin(tree.area[: tree.n_leaves]))
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(f"viewer.state.select({leaf}); viewer.drawFrame(performance.now())")
    # What is told of the selection may make the icicle smaller, a frame later.
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(frame)
    still = page.evaluate("document.getElementById('icicle').toDataURL()")
    page.wait_for_timeout(150)
    assert page.evaluate("document.getElementById('icicle').toDataURL()") == still
