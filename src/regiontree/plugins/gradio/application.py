"""The page of the app: what is where, and what happens on a click.

A visitor's tree lies in the memory of the process, some megabytes of it, for an hour after it was
made. Uploads, pictures and files lie in Gradio's temporary folder, and are removed after an hour,
too. Photographs are parsed one at a time; the others wait in a queue that shows their place.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from regiontree.errors import RegionTreeError
from regiontree.plugins.gradio.visit import DOWNLOADS, MAX_SIDE, Visit, first_regions, parsed
from regiontree.system.extras import optional

if TYPE_CHECKING:
    from gradio import Blocks

__all__ = ["HEAD", "STYLE", "make_app"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_HOURS = 3600.0
_WAITING = 20  # visitors in the queue; the next one is told to come back

HEAD = """
# regiontree

A photograph becomes a tree of its regions: scene, objects, parts, parts of parts. No labels, no
prompts, no chosen number of segments.
"""
"""What the page begins with."""

STYLE = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
footer { display: none !important; }
#picture img { cursor: crosshair; }
#picture .image-frame { display: flex; justify-content: center; }
"""
"""Style sheet of the page."""


def make_app(
    options: Mapping[str, Any] = _NOTHING,
    *,
    max_side: int = MAX_SIDE,
    examples: Sequence[str | Path] = (),
) -> Blocks:
    """The page as Gradio's Blocks; its method ``launch`` serves it.

    Parameters
    ----------
    options
        As :class:`regiontree.RegionParser` takes them. The network is loaded at the first
        photograph.
    max_side
        Long side of a visitor's tree in pixels. Larger photographs are made smaller.
    examples
        Photographs that a visitor can choose.

    Raises
    ------
    MissingExtraError
        Gradio, of the extra ``app``, is not installed.
    SettingsError
        An option is wrong.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    gr = optional("gradio", "app", "the app needs")
    from regiontree.parser import RegionParser

    parser = RegionParser(**options)

    def parse(path: str | None, progress: Any = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        if path is None:
            return (None, None, gr.update(interactive=False), *_no_region(gr), "", None)
        progress(0.1, "the network looks at the photograph")
        try:
            visit = parsed(parser, path, max_side)
        except RegionTreeError as error:
            raise gr.Error(_said(error, path), duration=None, print_exception=False) from None
        first = first_regions(visit)
        slider = gr.update(maximum=visit.most, value=first, interactive=True)
        return (visit, visit.cut(first), slider, *_no_region(gr), _facts(visit), visit.drawn_tree())

    def recut(visit: Visit | None, regions: int) -> tuple[Any, ...]:
        if visit is None:
            return (None, *_no_region(gr))
        return (visit.cut(int(regions)), *_no_region(gr))

    def click(visit: Visit | None, regions: int, event: Any) -> Any:
        if visit is None:
            return (None, *_no_region(gr))
        x, y = event.index
        above = visit.chain(x, y, int(regions))
        return (visit.chosen(above[0]), *_region(gr, visit, above, above[0]))

    # Gradio knows by its annotation that this argument is the event.
    click.__annotations__["event"] = gr.SelectData

    def climb(visit: Visit | None, chain: list[int], words: str | None) -> Any:
        if visit is None or not chain or words is None:
            return gr.update()
        labels = _labels(visit, chain)
        return visit.chosen(chain[labels.index(words)]) if words in labels else gr.update()

    def download(visit: Visit | None, regions: int, what: str) -> Any:
        if visit is None:
            raise gr.Error("choose a photograph first", print_exception=False)
        # Within Gradio's folder the file is not copied, and Gradio removes it.
        cache = Path(file.GRADIO_CACHE)
        cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="regiontree-", dir=cache))
        made = str(visit.save(what, int(regions), folder))
        return gr.update(value=made, visible=True)

    with gr.Blocks(
        title="regiontree", analytics_enabled=False, delete_cache=(600, int(_HOURS))
    ) as page:
        visit = gr.State(None, time_to_live=_HOURS)
        chain = gr.State([])
        gr.Markdown(HEAD)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                picture = gr.Image(
                    label="Regions: click one", interactive=False, elem_id="picture", format="png",
                    buttons=["fullscreen", "download"],
                )  # fmt: skip
                regions = gr.Slider(
                    1, 40, value=12, step=1, label="Number of regions", interactive=False,
                    elem_id="regions",
                )  # fmt: skip
                drawn = gr.Image(
                    label="The tree", interactive=False, format="png", elem_id="tree",
                    buttons=["fullscreen", "download"],
                )  # fmt: skip
            with gr.Column(scale=2, min_width=280):
                photo = gr.Image(
                    label="Your photograph", type="filepath", sources=["upload", "clipboard"],
                    height=240, elem_id="photo",
                )  # fmt: skip
                if examples:
                    gr.Examples([str(path) for path in examples], photo, label="Examples")
                facts = gr.Markdown("", elem_id="facts")
                scale = gr.Radio(
                    [], label="The region that you clicked, and what holds it", visible=False,
                    elem_id="chain",
                )  # fmt: skip
                every = gr.Button("Show all regions", elem_id="all", size="sm", visible=False)
                with gr.Row(equal_height=True):
                    what = gr.Dropdown(
                        list(DOWNLOADS), value=DOWNLOADS[0], label="Take home", elem_id="what",
                        min_width=150,
                    )  # fmt: skip
                    make = gr.Button("Make the file", elem_id="make", min_width=120)
                file = gr.File(label="File", interactive=False, elem_id="file", visible=False)
        region = [chain, scale, every]
        photo.change(
            parse, photo, [visit, picture, regions, *region, facts, drawn],
            concurrency_limit=1, show_progress_on=picture,
        )  # fmt: skip
        regions.input(
            recut, [visit, regions], [picture, *region], show_progress="hidden",
            trigger_mode="always_last",
        )  # fmt: skip
        picture.select(
            click, [visit, regions], [picture, *region], show_progress="hidden"
        )  # fmt: skip
        every.click(recut, [visit, regions], [picture, *region], show_progress="hidden")
        scale.input(climb, [visit, chain, scale], picture, show_progress="hidden")
        make.click(download, [visit, regions, what], file)
    page.queue(max_size=_WAITING)
    return page


def _region(gr: Any, visit: Visit, chain: list[int], node: int) -> tuple[Any, ...]:
    """What is shown of a chain of regions, of which one is chosen."""
    labels = _labels(visit, chain)
    radio = gr.update(choices=labels, value=labels[chain.index(node)], visible=True)
    return chain, radio, gr.update(visible=True)


def _no_region(gr: Any) -> tuple[Any, ...]:
    return [], gr.update(choices=[], value=None, visible=False), gr.update(visible=False)


def _labels(visit: Visit, chain: Sequence[int]) -> list[str]:
    """The regions of a chain in words, each once."""
    return [f"{i + 1}. {visit.words(node)}" for i, node in enumerate(chain)]


def _facts(visit: Visit) -> str:
    tree = visit.tree
    h, w = tree.shape
    return (
        f"{tree.n_leaves} leaves, {tree.n_nodes} nodes, depth {tree.depth}; {w} x {h} pixels. "
        "Move the slider, and click on a region."
    )


def _said(error: RegionTreeError, path: str) -> str:
    """An error without the folder that the upload lies in."""
    return str(error).replace(f"{Path(path).parent}{os.sep}", "")
