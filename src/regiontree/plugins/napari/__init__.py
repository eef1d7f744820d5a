"""The plugin of napari: trees of photographs and stacks, as a Labels layer and a dock.

napari finds the plugin by the entry point ``napari.manifest``, which names ``napari.yaml`` beside
this file. Modules without Qt hold all that can be computed without a window:

stack       the trees of all planes of a layer, and the values of their regions
cut         the label array of a cut, filled by one look-up a pixel
granularity positions of the slider as numbers of regions or heights
colours     a colour for each node
rows        the tree as rows of a table
selection   the selected region, and who wants to know of it
planes      the planes of an image layer as arrays of pixels
parsing     planes to trees, step by step
files       tree files and photographs as layers, and layers as tree files
program     whether napari is there, and new enough

``qt`` holds the window's parts. Nothing here is imported by the rest of the package.
"""
