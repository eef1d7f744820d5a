"""Mistakes that type checkers must find: one on each line that ends with the word ``wrong``."""

from __future__ import annotations

from regiontree import Forest, RegionParser, RegionTree, Settings, parse


def mistakes(tree: RegionTree, forest: Forest) -> None:
    tree.cut(8)  # wrong
    tree.cut(n_regions="8")  # wrong
    tree.cut(regions=8)  # wrong
    tree.to_coco(regions=8)  # wrong
    tree.to_coco(n_regions="eight")  # wrong
    tree.to_panoptic(salient=3)  # wrong
    tree.to_label_image(height="low")  # wrong
    tree.to_ucm(size="huge")  # wrong
    tree.to_sam(mask=3)  # wrong
    tree.to_nothing()  # wrong
    tree.labels = tree.labels  # wrong
    number: int = tree.to_newick()  # wrong
    parse()  # wrong
    parse(3)  # wrong
    RegionParser().parse(None)  # wrong
    RegionParser().features({"photo": 1})  # wrong
    RegionParser(preset=3)  # wrong
    Settings.make(3)  # wrong
    forest.no_such_method()  # wrong
    print(number)
