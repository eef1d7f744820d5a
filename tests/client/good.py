"""A program that uses every public name. It is checked by mypy and pyright, and run by no one.

`assert_type` says what a type checker must find. So does each line of `wrong.py`, whose mistakes
both checkers must find.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import regiontree
from regiontree import (
    AutomaticMaskGenerator,
    ClipParser,
    ClipTree,
    Collection,
    Forest,
    MaskGenerationPipeline,
    RegionParser,
    RegionTree,
    RegionTreeError,
    Settings,
    StopReason,
    metrics,
    parse,
    parse_clip,
    plot,
    to_fiftyone,
)
from regiontree import export as exports
from regiontree.errors import ImageError, MissingExtraError, SettingsError


def one_photograph(path: Path) -> RegionTree:
    """First Python of the README."""
    tree = parse(path)
    assert_type(tree, RegionTree)
    assert_type(tree.cut(n_regions=8), NDArray[np.int32])
    assert_type(tree.salient(10), list[int])
    assert_type(tree.mask(tree.salient(10)[0]), NDArray[np.bool_])
    assert_type(tree.shape, tuple[int, int])
    assert_type(tree.n_nodes, int)
    assert_type(tree.root, int)
    assert_type(tree.pieces(min_area=20), RegionTree)
    assert_type(tree.condense(24), RegionTree)
    assert_type(tree.save(path.with_suffix(".npz")), Path)
    assert_type(RegionTree.load(path.with_suffix(".npz")), RegionTree)
    if StopReason(int(tree.stop[0])) is StopReason.NO_DATA:
        print("no data")
    return tree


def one_clip(path: Path) -> ClipTree:
    """The frames of a film as one tree."""
    tree = parse_clip(path, every=2, preset="fast", clip={"window": 24})
    assert_type(tree, ClipTree)
    assert_type(tree.cut_frame(0, n_regions=8), NDArray[np.int32])
    assert_type(tree.span(tree.salient(5)[0]), tuple[int, int])
    assert_type(tree.frame(0), RegionTree)
    assert_type(tree.condense(24), ClipTree)
    assert_type(tree.shape, tuple[int, int, int])
    assert_type(ClipTree.load(tree.save(path.with_suffix(".clip.npz"))), ClipTree)
    assert_type(ClipParser(preset="fast").parser, RegionParser)
    return tree


def doors(tree: RegionTree, folder: Path) -> None:
    """What other rooms do for a tree."""
    tree.show("photo.jpg", n_regions=12).savefig(folder / "tree.png")
    assert_type(tree.export("coco", folder / "coco.json", n_regions=8), Path)
    assert_type(tree.to_coco("photo", n_regions=8, attributes=True), dict[str, Any])
    assert_type(tree.to_coco(salient=12), dict[str, Any])
    assert_type(tree.to_panoptic(height=0.5), tuple[dict[str, Any], NDArray[np.uint8]])
    assert_type(tree.to_label_studio(all_nodes=True, url_prefix="/data/"), dict[str, Any])
    assert_type(tree.to_label_image(depth=3), NDArray[np.uint16])
    assert_type(tree.to_label_stack(granularities=(2, 4)), NDArray[np.uint16])
    assert_type(tree.to_ucm(size="image"), NDArray[np.float32])
    assert_type(tree.to_geojson(contrast=0.2, crs="EPSG:32633"), dict[str, Any])
    assert_type(tree.to_newick(), str)
    assert_type(tree.to_masks(folder), Path)
    assert_type(tree.to_sam(masks=50, output_mode="coco_rle"), list[dict[str, Any]])
    assert_type(tree.to_mask_generation(output_bboxes_mask=True), dict[str, Any])
    tree.to_networkx()
    tree.to_higra()
    tree.to_supervision(compact=True)


def many(folder: Path, out: Path) -> int:
    """A parser for many photographs, settings, and errors."""
    settings = Settings.make("fast", view={"size": 448}, parts=100)
    assert_type(settings, Settings)
    assert_type(settings.view.size, int | tuple[int, int])
    assert_type(settings.as_dict(), dict[str, Any])
    parser = RegionParser(preset="fast", parts=100, device="cpu")
    failed = 0
    for path in sorted(folder.glob("*.jpg")):
        try:
            parser.parse(path).save(out / f"{path.stem}.npz")
        except MissingExtraError as error:
            raise SystemExit(str(error)) from error
        except ImageError:
            failed += 1
        except (SettingsError, RegionTreeError) as error:
            print(error)
    return failed


def masks(image: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """In place of SAM and of the pipeline of transformers."""
    generator = AutomaticMaskGenerator(min_mask_region_area=100)
    records = generator.generate(image)
    assert_type(records, list[dict[str, Any]])
    MaskGenerationPipeline()(image)
    return records


def stored(place: Path) -> list[str]:
    """A store of trees, a collection, FiftyOne."""
    forest = Forest(place)
    assert_type(len(forest), int)
    for key in forest:
        assert_type(key, str)
        assert_type(forest[key], RegionTree)
    assert_type(forest.errors(), dict[str, str])
    collection = Collection.load(place, place.parent / "trees")
    assert_type(collection, Collection)
    assert_type(collection.label_map("photo.jpg", 12), NDArray[np.int32])
    to_fiftyone(place, "photographs")
    return list(forest)


def measured(tree: RegionTree, labels: NDArray[np.int64]) -> None:
    """Figures, metrics and formats by name."""
    plot.overview(tree).savefig("overview.png")
    assert_type(metrics.__all__, list[str])
    assert_type(exports.export_tree(tree, "newick", "tree.nwk"), Path)
    assert_type(regiontree.__version__, str)
