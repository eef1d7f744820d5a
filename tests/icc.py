"""ICC profiles of a few hundred bytes, with known primaries and a power curve."""

from __future__ import annotations

import struct

# XYZ of red, green and blue under D50, as Bruce Lindbloom gives them.
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
_WHITE = (0.9642, 1.0, 0.8249)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, content = b"", b""
    for signature, tag in tags.items():
        place = 128 + 4 + 12 * len(tags) + len(content)
        table += signature + struct.pack(">II", place, len(tag))
        content += tag + bytes(-len(tag) % 4)
    body = struct.pack(">I", len(tags)) + table + content
    head = struct.pack(">I4s4s4s4s4s", 128 + len(body), b"none", b"\x02\x10\0\0", b"mntr", space,
                       b"XYZ ")  # fmt: skip
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(*_WHITE)
    return head.ljust(128, b"\0") + body


def _common(name: str) -> dict[bytes, bytes]:
    said = name.encode() + b"\0"
    return {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(said)) + said + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_WHITE),
    }


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def of_colour(name: str, primaries: tuple[tuple[float, ...], ...], gamma: float) -> bytes:
    """A profile of RGB."""
    tags = _common(name)
    for letter, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[letter + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*primary)
        tags[letter + b"TRC"] = _curve(gamma)
    return _profile(b"RGB ", tags)


def of_grey(name: str, gamma: float) -> bytes:
    """A profile of grey."""
    return _profile(b"GRAY", {**_common(name), b"kTRC": _curve(gamma)})
