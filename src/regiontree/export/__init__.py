"""Region trees in the formats of other programs: one format a file, all of them in FORMATS.

To add one: a file with a function that writes, and a line in :data:`FORMATS`; the command line,
its checks and its names of files follow from the line. A format of one document for all trees has
two functions: one makes the document of a tree, the other writes many of them as one.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORMATS", "Format"]

_CUT = ("n_regions", "height", "depth")


@dataclass(frozen=True, slots=True)
class Format:
    """A format to write.

    Attributes
    ----------
    name
        After ``--to``.
    what
        What it is, in a few words.
    write
        ``module.function`` of this package: of (tree, path, **options), or, of a format of one
        document for all trees, of (documents, path).
    suffixes
        Endings of its files' names, the default first.
    options
        Which of the command's options it uses.
    make
        ``module.function`` of (tree, name, **options), which makes the document of a tree; None if
        every tree has a file of its own.
    """

    name: str
    what: str
    write: str
    suffixes: tuple[str, ...]
    options: tuple[str, ...] = ()
    make: str | None = None


FORMATS = {
    known.name: known
    for known in (
        Format("coco", "COCO instances: one JSON, all nodes with their parents",
               "coco.write_coco", (".json",), (*_CUT, "salient", "all_nodes"),
               make="coco.to_coco"),
        Format("panoptic", "COCO panoptic: one JSON and a folder of PNGs, a cut",
               "panoptic.write_panoptic", (".json",), _CUT, make="panoptic.to_panoptic"),
        Format("labels-png", "a cut as a 16-bit PNG of region numbers",
               "labelmap.write_label_image", (".labels.png", ".png"), _CUT),
        Format("labels-tiff", "a cut as a 16-bit TIFF of region numbers",
               "labelmap.write_label_image", (".labels.tif", ".tif", ".tiff"), _CUT),
        Format("stack", "cuts from coarse to fine as a TIFF stack, for ImageJ and napari",
               "labelmap.write_label_stack", (".stack.tif", ".tif", ".tiff"), ("granularities",)),
        Format("ome-tiff", "cuts from coarse to fine as channels of an OME-TIFF",
               "labelmap.write_label_stack", (".ome.tif", ".ome.tiff"), ("granularities",)),
        Format("geojson", "polygons of a cut or of all nodes, in pixels or on the map",
               "geojson.write_geojson", (".geojson", ".json"),
               (*_CUT, "all_nodes", "transform", "crs", "images")),
        Format("label-studio", "Label Studio: one JSON of tasks with regions as brush masks",
               "labelstudio.write_label_studio", (".json",), (*_CUT, "all_nodes", "url_prefix"),
               make="labelstudio.to_label_studio"),
        Format("newick", "the tree alone, as phylogenetics reads it",
               "newick.write_newick", (".nwk", ".newick", ".tree")),
        Format("graphml", "the tree as a graph with attributes, for Gephi, Cytoscape and igraph",
               "graph.write_graphml", (".graphml",)),
        Format("higra", "the tree as Higra saves it", "higra.write_higra", (".higra", ".tree")),
        Format("masks", "a folder with a 1-bit PNG of every node, and tree.json",
               "masks.write_masks", (".masks",)),
        Format("tree", "a tree file as it was read, for --condense",
               "treefile.write_tree", (".npz",)),
    )
}  # fmt: skip
"""Every format by its name after ``--to``."""
