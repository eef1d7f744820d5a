"""The command line: thin, and quick to answer. Heavy imports happen inside commands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from regiontree._version import __version__
from regiontree.errors import RegionTreeError

__all__ = ["app", "main"]

EXIT_USAGE = 2  # nothing could be done: a wrong option, no weights, no such device

# What several commands take.
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the network first: for many photographs.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Images = Annotated[
    list[Path] | None, typer.Option(help="Where the trees' photographs lie; several times.")
]
Paths = Annotated[
    list[Path], typer.Argument(help="Photographs or trees (.npz), or folders of them.")
]
Config = Annotated[Path | None, typer.Option(help="A YAML or JSON file of settings by stage.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.KEY=VALUE",
        help="Any setting; several times. 'regiontree settings' lists them.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="default; fast; or published: every setting of the paper at once.  [default: default]"
    ),
]
Refine = Annotated[
    str | None, typer.Option(help="Borders to pixels: none, guided or crf.  [default: guided]")
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A photograph as a tree of its semantic regions.",
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
    paths: Annotated[list[str], typer.Argument(help="Image files, folders or glob patterns.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the trees.")],
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="A name (regiontree backbones lists them), a hub's owner/model, a model's folder, "
            "onnx:FILE; precomputed: inputs are feature files; precomputed:FOLDER: they lie in "
            "FOLDER under the images' names.  [default: embedded]"
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="Long side in pixels (aspect kept), or HEIGHTxWIDTH.  [default: 518]"),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(help="How often the network sees the image: 1, 2 or 4.  [default: 4]"),
    ] = None,
    tiles: Annotated[
        str | None,
        typer.Option(help="Also see it in tiles: long side in pixels, or own for its own size."),
    ] = None,
    kernel: Annotated[
        str | None, typer.Option(help="See the image in overlapping crops of that size, averaged.")
    ] = None,
    stride: Annotated[
        str | None, typer.Option(help="From one crop to the next; goes with kernel.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Blocks whose features are taken, like 9,12.  [-1: the last]")
    ] = None,
    facet: Annotated[
        str | None, typer.Option(help="token, key, query or value.  [default: value]")
    ] = None,
    positions: Annotated[
        str | None, typer.Option(help="Interpolated as upstream or as published.  [upstream]")
    ] = None,
    device: Device = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="auto, float32, bfloat16 or float16.  [default: auto]")
    ] = None,
    compile: Compile = False,
    tree: Annotated[
        str | None, typer.Option(help="Tree builder: ward or recursive.  [default: ward]")
    ] = None,
    parts: Annotated[
        int | None, typer.Option(help="Parts that patches are grouped into.  [default: 400]")
    ] = None,
    max_ncut: Annotated[
        float | None,
        typer.Option(help="Tree recursive: a division needs a normalised cut below it.  [0.8]"),
    ] = None,
    max_perturbation: Annotated[
        float | None,
        typer.Option(help="Tree recursive: regions less stable than this stay whole.  [80]"),
    ] = None,
    levels: Annotated[int | None, typer.Option(help="Tree recursive: deepest level.  [9]")] = None,
    refine: Refine = None,
    seed: Annotated[int | None, typer.Option(help="Of every random step.  [default: 1234]")] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Refuse larger images.  [default: 150000000]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo finished images.")] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Also draw each tree beside it, as PNG files.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Parse photographs into region trees, one .npz each.

    Finished images are skipped when run again. Bad images are reported at the end; the rest goes
    on. Exit code: 0 all done, 1 some failed, 2 nothing could be done, 130 interrupted.
    """
    options = _options(
        backbone=backbone, size=size, views=views, tiles=tiles, kernel=kernel, stride=stride,
        layers=layers, facet=facet, positions=positions, dtype=dtype, tree=tree, parts=parts,
        max_ncut=max_ncut, max_perturbation=max_perturbation, levels=levels, refine=refine,
        seed=seed,
    )  # fmt: skip
    with _clear_errors():
        from regiontree.engines import command
        from regiontree.images import MAX_PIXELS
        from regiontree.parser import RegionParser
        from regiontree.settings.command import given_settings

        given = given_settings(options, preset=preset, config=config, assignments=set_ or ())
        parser = RegionParser(
            device=device, max_pixels=max_pixels or MAX_PIXELS, compile=compile, **given
        )
        code = command.run(
            parser, paths, out, overwrite=overwrite, pictures=pictures, as_json=as_json
        )
    raise typer.Exit(code)


@app.command()
def show(
    tree: Annotated[Path, typer.Argument(help="A tree (.npz).")],
    depth: Annotated[int | None, typer.Option(help="Show nodes down to this depth.")] = None,
    regions: Annotated[
        int | None, typer.Option(help="Show nodes down to the cut into so many regions.")
    ] = None,
    condense: Annotated[
        int | None, typer.Option(help="Show the tree condensed to its so many salient nodes.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw it, too: every node a picture. FILE.png, .svg, .pdf.")
    ] = None,
    images: Images = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the figure.")] = False,
) -> None:
    """Print a tree as text: area, depth and height of each node, and why each leaf ends.

    Without a limit, down to the cut into 20 regions, and drawn to that into 12.
    """
    with _clear_errors():
        from regiontree.tree import RegionTree

        if figure is not None:
            from regiontree.display.plot.save import check_figure_file, save_tree_figure
            from regiontree.forest.sources import open_source

            check_figure_file(figure, overwrite=overwrite)
            source = open_source(tree, images=images or ())
            found = source.tree
        else:
            found = RegionTree.load(tree)
        found = found if condense is None else found.condense(condense)
        limited = depth is not None or regions is not None or condense is not None
        typer.echo(found.to_text(max_depth=depth, n_regions=regions) if limited else str(found))
        if figure is not None:
            if source.notice:
                typer.echo(source.notice, err=True)
            shown = None  # the cut
            if regions is None and (depth is not None or condense is not None):
                shown = [i for i, at in enumerate(found.level) if depth is None or at <= depth]
            save_tree_figure(source, found, figure, nodes=shown, n_regions=regions)


@app.command()
def view(
    paths: Paths,
    images: Images = None,
    html: Annotated[
        Path | None, typer.Option(help="Write one self-contained page instead of serving.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 picks a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    longest: Annotated[int, typer.Option(help="Longer side of the picture in pixels.")] = 1600,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    refine: Refine = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page.")] = False,
) -> None:
    """Look at photographs and their trees in the browser.

    Photographs are parsed first. Exit code: 0 fine, 1 some inputs failed, 2 nothing to show.
    """
    with _clear_errors():
        from regiontree.viewer import command

        given = _given(_options(refine=refine), preset, config, set_)
        code = command.view(
            paths, images=images or (), html=html, host=host, port=port, open_browser=browser,
            longest=longest, overwrite=overwrite,
            parser_options={"device": device, **given},
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def gallery(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the site.")],
    images: Images = None,
    title: Annotated[str | None, typer.Option(help="Of the site.")] = None,
    longest: Annotated[int, typer.Option(help="Longer side of the pictures in pixels.")] = 1280,
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    refine: Refine = None,
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make every page again.")] = False,
) -> None:
    """Make a static site of many images and their trees, for any web host.

    Pages that are there and up to date are kept. Exit code: 0 all done, 1 some inputs failed, 2
    nothing to show, 130 interrupted.
    """
    with _clear_errors():
        from regiontree.viewer import command

        given = _given(_options(refine=refine), preset, config, set_)
        code = command.gallery(
            paths, out, images=images or (), title=title, longest=longest, overwrite=overwrite,
            parser_options={"device": device, **given},
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def export(
    trees: Annotated[list[Path], typer.Argument(help="Trees (.npz), folders or patterns of them.")],
    to: Annotated[
        str,
        typer.Option(
            help="coco, panoptic, labels-png, labels-tiff, stack, ome-tiff, geojson, label-studio, "
            "newick, graphml, higra, masks or tree."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File or folder; beside the trees if not given."),
    ] = None,
    images: Images = None,
    regions: Annotated[int | None, typer.Option(help="The cut into so many regions.")] = None,
    height: Annotated[float | None, typer.Option(help="The cut at that height.")] = None,
    depth: Annotated[int | None, typer.Option(help="The cut at that depth.")] = None,
    salient: Annotated[int | None, typer.Option(help="coco: only so many salient nodes.")] = None,
    condense: Annotated[
        int | None, typer.Option(help="Condense each tree to so many nodes first.")
    ] = None,
    all_nodes: Annotated[
        bool, typer.Option("--all-nodes", help="Every node, not only a cut.")
    ] = False,
    granularities: Annotated[
        str | None, typer.Option(help="stack, ome-tiff: numbers of regions.  [2,4,8,16,32,64]")
    ] = None,
    transform: Annotated[
        str | None, typer.Option(help="geojson: a,b,c,d,e,f; else the GeoTIFF's own.")
    ] = None,
    crs: Annotated[str | None, typer.Option(help="geojson: of the transform, like EPSG:32633.")] = (
        None
    ),
    url_prefix: Annotated[
        str | None, typer.Option(help="label-studio: what image names start with.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a machine-readable summary to standard output.")
    ] = False,
) -> None:
    """Write trees in the formats of other programs.

    Exit code: 0 all done, 1 some trees failed, 2 nothing could be done, 130 interrupted.
    """
    with _clear_errors():
        from regiontree.export import command

        code = command.run(
            trees, to, out, images=images or (), n_regions=regions, height=height, depth=depth,
            granularities=granularities, all_nodes=all_nodes, salient=salient, condense=condense,
            transform=transform, crs=crs, url_prefix=url_prefix, overwrite=overwrite,
            as_json=as_json,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="YAML or JSON: ours, or of the published code.")
    ] = None,
    conf: Annotated[Path | None, typer.Option("--conf", help="The same, as an option.")] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--config", help="A file of settings by stage, instead of the config's."),
    ] = None,
    set_: Set = None,
    model: Annotated[str | None, typer.Option(help="Backbone, instead of the config's.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "--output_root", help="Root of all results.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set, instead of the config's.")] = None,
    split: Annotated[str | None, typer.Option(help="Split, instead of the config's.")] = None,
    root: Annotated[str | None, typer.Option(help="Folder of the data.")] = None,
    datasets_config: Annotated[
        str | None,
        typer.Option(
            "--datasets-config", "--datasets_config", help="datasets.json of the published code."
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="features, trees or evaluate; may be given several times."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Long side, or HEIGHTxWIDTH.")] = None,
    refine: Annotated[
        str | None, typer.Option(help="none, guided or crf, instead of the config's.")
    ] = None,
    device: Device = "auto",
    compile: Compile = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo finished images.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the config, say what would run and is missing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON to standard output.")
    ] = False,
) -> None:
    """Run an experiment: features, trees and scores of a whole data set.

    Alone, or under torchrun: torchrun --nproc_per_node 4 -m regiontree run CONFIG. Finished images
    are kept when run again. Exit code: 0 all done, 1 some images failed, 2 nothing could be done,
    130 interrupted.
    """
    if (config is None) == (conf is None):
        typer.echo("regiontree: give one config: run CONFIG, or run --conf CONFIG", err=True)
        raise typer.Exit(EXIT_USAGE)
    with _clear_errors():
        from regiontree.experiments import terminal
        from regiontree.experiments.config import load_experiment
        from regiontree.experiments.run import prepare
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
    trees: Annotated[
        list[Path],
        typer.Argument(help="Trees or folders of them: ours, or label maps with parents."),
    ],
    dataset: Annotated[str, typer.Option(help="Name in the catalogue, or a data set's YAML.")],
    split: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    protocol: Annotated[
        list[str] | None, typer.Option(help="pixel, grid; may be given twice.  [default: pixel]")
    ] = None,
    match: Annotated[str, typer.Option(help="max, or hungarian: one node a region.")] = "max",
    threshold: Annotated[float, typer.Option(help="IoU below it counts as 0.")] = 0.0,
    budgets: Annotated[
        str, typer.Option(help="Node budgets of the curve, with commas.")
    ] = "5,10,25,50,100,200",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for summary files.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON to standard output.")
    ] = False,
) -> None:
    """Score trees that exist already, made here or by any program.

    Images without a tree are told of and left out. Exit code: 0 every image scored, 1 some not, 2
    none.
    """
    with _clear_errors():
        from regiontree.experiments import terminal

        code = terminal.evaluate(
            trees, dataset, split, root, protocols=tuple(protocol or ["pixel"]), match=match,
            threshold=threshold, budgets=budgets, out=out, as_json=as_json,
        )  # fmt: skip
    raise typer.Exit(code)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="One data set; all if left out.")] = None,
    split: Annotated[str | None, typer.Option(help="Split to check.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Say exactly what is missing.")] = False,
) -> None:
    """List the data sets known by name; say what to download, where it goes, what is missing."""
    with _clear_errors():
        from regiontree.experiments import terminal

        raise typer.Exit(terminal.datasets(name, split, root, check=check))


@app.command()
def settings(
    name: Annotated[str | None, typer.Argument(help="A stage or a setting; all if left out.")] = (
        None
    ),
    preset: Preset = None,
    config: Config = None,
    set_: Set = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON to standard output.")
    ] = False,
) -> None:
    """Print every setting: its value, what it may be and what it means."""
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
    name: Annotated[str | None, typer.Argument(help="One of them, or owner/model.")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch its weights, for machines without network.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON to standard output.")
    ] = False,
) -> None:
    """List the networks known by name, and which of them are on this machine."""
    with _clear_errors():
        from regiontree.backbones import command

        raise typer.Exit(command.backbones(name, download=download, as_json=as_json))


def main() -> None:
    """Run the command line."""
    # On a busy machine OpenMP's threads spin for each other's turn. With a short spin a tree takes
    # 181 ms there instead of 266; on an idle one, 11 more (benchmarks/threads.py). It must be said
    # before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    app()


# -- pieces ---------------------------------------------------------------------------------------


def _options(**given: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in given.items() if value is not None}


def _given(
    options: dict[str, Any], preset: str | None, config: Path | None, assignments: list[str] | None
) -> dict[str, Any]:
    """Settings for photographs, checked before any work.

    Trees need no settings. Nothing is imported for them unless the user names a setting.
    """
    if not (options or preset or config or assignments):
        return {}
    from regiontree.settings import Settings
    from regiontree.settings.command import given_settings

    given = given_settings(options, preset=preset, config=config, assignments=assignments or ())
    changes = {name: value for name, value in given.items() if name != "preset"}
    Settings.make(given["preset"], **changes)
    return given


@contextmanager
def _clear_errors() -> Iterator[None]:
    """One line and exit code 2 for errors that are the user's to mend."""
    try:
        yield
    except RegionTreeError as error:
        if os.environ.get("RANK", "0") == "0":  # once, not by every process of torchrun
            typer.echo(f"regiontree: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from error


if __name__ == "__main__":
    main()
