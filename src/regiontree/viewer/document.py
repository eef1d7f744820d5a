"""HTML documents from the files of the folder ``web/``: template, styles and script in one text.

A document asks no network for anything but pictures, unless it says so. Its content security policy
allows only its own style and script, each by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from regiontree.viewer.bundle import bundle

__all__ = ["document"]


def document(
    template: str,
    *,
    styles: Sequence[str],
    script: str | None,
    images: str,
    parts: Mapping[str, str],
    connects: str = "",
) -> str:
    """A whole HTML document.

    Parameters
    ----------
    template
        File name of the HTML, in which ``@@NAME@@`` stands for the part of that name. The parts
        ``HEAD``, ``POLICY``, ``STYLE`` and ``SCRIPT`` are made here.
    styles
        File names of the style sheets.
    script
        Name of the module that runs, without ``.js``; None for a document without a script.
    images
        Sources of pictures that the policy allows, in the words of ``img-src``.
    parts
        The other parts, as HTML.
    connects
        What the script may ask for data, in the words of ``connect-src``.

    Raises
    ------
    ViewError
        The modules of the script cannot be joined.
    """
    style = "".join(map(_text, styles))
    code = None if script is None else _script(script)
    policy = (
        f"default-src 'none'; img-src {images}; style-src {_digest(style)}; "
        f"script-src {_digest(code)}; base-uri 'none'; form-action 'none'"
    )
    policy += f"; connect-src {connects}" if connects else ""
    tag = "" if code is None else f'<script type="module">{code}</script>'
    every = {**parts, "POLICY": policy, "STYLE": style, "SCRIPT": tag}
    whole = _text(template).replace("@@HEAD@@", _text("head.html"))
    return re.sub("@@([A-Z]+)@@", lambda match: every[match[1]], whole)


@cache
def _script(name: str) -> str:
    return bundle(name, lambda module: _text(f"{module}.js"))


def _text(name: str) -> str:
    return (files(__package__) / "web" / name).read_text(encoding="utf-8")


def _digest(text: str | None) -> str:
    """The source expression that allows this text alone (CSP level 3, section 2.3.1)."""
    if text is None:
        return "'none'"
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
