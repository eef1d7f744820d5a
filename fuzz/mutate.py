"""Changes to bytes, to text and to JSON. All choices come from the generator that is given."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

__all__ = ["change_bytes", "change_text", "changed_json", "json_mutator"]

_SIZES = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1,
          2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_TEXTS = ("", " ", "0", "-1", "1e999", "nan", "null", "~", "..", "../..", "/", "\\", "a" * 5000,
          "é",
          "\u202e", "\x1b[31m", "\x00", "\ud800", "%s", "{0}", "<script>", "'", '"', "$HOME", "*",
          "\r\n", "\u2028", "1_000", "0x10", "yes", "2001-01-01", "&a", "*a",
          "!!python/none")  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 2**31, 2**63, 10**30, 10**400, -0.5, 1.5, 1e308, 1e-320,
    float("nan"), float("inf"), [], {}, [[]], [0], [1, 2], {"": 0}, {"a": {}}, *_TEXTS,
)  # fmt: skip


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to four changes at random places."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        length = min(len(found) - at, rng.choice((1, 2, 4, 8, 16, 64, 1024)))
        match rng.randrange(8):
            case 0 if found:
                found[at % len(found)] ^= 1 << rng.randrange(8)
            case 1 if found:
                found[at % len(found)] = rng.choice((0, 1, 10, 127, 128, 255, rng.randrange(256)))
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length]
            case 4:
                found[at:at] = rng.randbytes(length)
            case 5:
                del found[at:]
            case _:
                form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
                value = rng.choice(_SIZES) % (1 << 8 * struct.calcsize(form))
                found[at : at + struct.calcsize(form)] = struct.pack(form, value)
    return bytes(found)


def change_text(rng: random.Random, data: bytes) -> bytes:
    """One to three changes to lines and words."""
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        word = rng.choice(_TEXTS).encode("utf-8", "surrogatepass")
        match rng.randrange(9):
            case 0 if len(lines) > 1:
                del lines[i]
            case 1:
                lines.insert(i, lines[rng.randrange(len(lines))])
            case 2:
                lines[i] = rng.choice((b" ", b"\t", b"  ", b"- ")) + lines[i]
            case 3:
                lines[i] = lines[i].lstrip()
            case 4:
                lines[i] += word
            case 5:
                head, mark, _ = lines[i].rpartition(rng.choice((b":", b"\t", b"=", b",")))
                lines[i] = head + mark + word
            case 6:
                lines[i] = rng.choice((b"[", b"{a: ", b"- ", b"\t")) * 3000 + lines[i]
            case 7:
                at = rng.randrange(len(lines[i]) + 1)
                lines[i] = lines[i][:at] + word + lines[i][at:]
            case _:
                j = rng.randrange(len(lines))
                lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def changed_json(rng: random.Random, value: Any) -> Any:
    """A JSON value with one to three changes inside."""
    for _ in range(rng.randint(1, 3)):
        value = _changed(rng, value)
    return value


def _changed(rng: random.Random, value: Any) -> Any:
    inside = isinstance(value, dict | list) and len(value) and rng.random() < 0.8
    if not inside:
        return rng.choice(_VALUES) if rng.random() < 0.8 else [value]
    if isinstance(value, dict):
        key = rng.choice(sorted(value, key=str))
        match rng.randrange(8):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return {(rng.choice(_TEXTS) if k == key else k): v for k, v in value.items()}
            case 2:
                return {**value, rng.choice(_TEXTS): rng.choice(_VALUES)}
        return {**value, key: _changed(rng, value[key])}
    i = rng.randrange(len(value))
    match rng.randrange(8):
        case 0:
            return [*value[:i], *value[i + 1 :]]
        case 1:
            return [*value[:i], value[i], *value[i:]]
    return [*value[:i], _changed(rng, value[i]), *value[i + 1 :]]


def json_mutator(rng: random.Random, data: bytes) -> bytes:
    """The JSON text with changed values, or as :func:`change_text` if it is not JSON."""
    if rng.random() < 0.05:
        return rng.choice((b"[" * 50_000, b'{"a":' * 50_000, data + data))
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return change_text(rng, data)
    return json.dumps(changed_json(rng, value)).encode("utf-8", "surrogatepass")
