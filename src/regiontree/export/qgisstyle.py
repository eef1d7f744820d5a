"""Styles of QGIS: each region in its own colour, the one that it has in all pictures.

A style is a QML document. QGIS applies one by itself if it lies beside a picture under the same
name with the ending ``.qml``, or if it is in the table ``layer_styles`` of a GeoPackage.

Reference: the format is that of QGIS 3 (its documentation, *QGIS Style Sheet*); QGIS 3.22 was used
to try it.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

__all__ = ["label_style", "polygon_style"]

_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_OPACITY = "0.6"  # the photograph below shows through


def label_style(regions: Iterable[tuple[int, str, str]]) -> str:
    """The style of a picture of region numbers.

    Parameters
    ----------
    regions
        For each region its value, its colour as ``#rrggbb``, and its name in the legend.
    """
    root = ElementTree.Element("qgis", version="3.22")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity=_OPACITY, alphaBand="-1"
    )
    ElementTree.SubElement(renderer, "rasterTransparency")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, color, name in regions:
        ElementTree.SubElement(
            palette, "paletteEntry", value=str(value), color=color, alpha="255", label=name
        )
    return _text(root)


def polygon_style(color_field: str) -> str:
    """The style of a layer of polygons.

    Parameters
    ----------
    color_field
        The column that has the colour of each polygon as ``#rrggbb``.
    """
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ElementTree.SubElement(root, "renderer-v2", type="singleSymbol", symbollevels="0")
    symbols = ElementTree.SubElement(renderer, "symbols")
    symbol = ElementTree.SubElement(symbols, "symbol", type="fill", name="0", alpha="1")
    layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1"})
    fixed = {
        "color": "190,190,190,255",
        "outline_color": "255,255,255,255",
        "outline_style": "solid",
        "outline_width": "0.2",
        "outline_width_unit": "MM",
        "style": "solid",
    }
    options = ElementTree.SubElement(layer, "Option", type="Map")
    for name, value in fixed.items():
        ElementTree.SubElement(options, "Option", name=name, value=value, type="QString")
        ElementTree.SubElement(layer, "prop", k=name, v=value)  # for QGIS before 3.22
    own = ElementTree.SubElement(layer, "data_defined_properties")
    top = ElementTree.SubElement(own, "Option", type="Map")
    ElementTree.SubElement(top, "Option", name="name", value="", type="QString")
    properties = ElementTree.SubElement(top, "Option", name="properties", type="Map")
    fill = ElementTree.SubElement(properties, "Option", name="fillColor", type="Map")
    ElementTree.SubElement(fill, "Option", name="active", value="true", type="bool")
    ElementTree.SubElement(fill, "Option", name="field", value=color_field, type="QString")
    ElementTree.SubElement(fill, "Option", name="type", value="2", type="int")  # a field
    ElementTree.SubElement(top, "Option", name="type", value="collection", type="QString")
    ElementTree.SubElement(root, "layerOpacity").text = _OPACITY
    return _text(root)


def _text(root: ElementTree.Element) -> str:
    ElementTree.indent(root, " ")
    return _HEAD + ElementTree.tostring(root, encoding="unicode") + "\n"
