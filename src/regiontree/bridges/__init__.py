"""Bridges to labelling programs that ask while a person labels: Label Studio and CVAT.

- :mod:`regiontree.bridges.service` answers Label Studio over HTTP;
  :mod:`regiontree.bridges.labelstudioml` does the same inside Label Studio's own framework.
- :mod:`regiontree.bridges.cvat` is an auto-annotation function for CVAT.

Files to import into these programs are written by :mod:`regiontree.export`.
"""

__all__: list[str] = []
