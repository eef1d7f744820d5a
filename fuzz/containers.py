"""Changes inside containers: zip and npz, npy, safetensors, PNG, TIFF, and bundles of files.

A container is taken apart, one part is changed, and it is put together again. So the change gets
past the checksums and lengths that would refuse it at the door.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from fuzz.mutate import change_bytes, changed_json, json_mutator
from fuzz.target import Mutator

__all__ = [
    "bundle",
    "bundle_mutator",
    "change_npy",
    "change_png",
    "change_safetensors",
    "change_tiff",
    "npy",
    "npz",
    "safetensors",
    "unbundle",
    "zip_mutator",
]

_DTYPES = ("|O", "<U3", "<f8", ">f4", "<i8", "|u1", "<f2", "|b1", "<c8", "<M8[s]", "|S4", "<u8",
           "|V0", "<U0", "[('a','<f4')]")  # fmt: skip
_SIDES = (0, 1, 2, 3, -1, 7, 65536, 2**31, 2**40, 2**62, 2**63)


# -- NumPy ----------------------------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    """An array as a ``.npy`` file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=True)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """Arrays as an ``.npz`` file."""
    return _zipped([(f"{name}.npy", npy(array)) for name, array in arrays.items()])


def change_npy(rng: random.Random, data: bytes) -> bytes:
    """A ``.npy`` file with another header, values or length."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        return change_bytes(rng, data)
    length = struct.unpack("<H", data[8:10])[0]
    header, body = data[10 : 10 + length], data[10 + length :]
    match rng.randrange(6):
        case 0:
            head, _, rest = header.partition(b"'shape': ")
            shape = tuple(rng.choice(_SIDES) for _ in range(rng.randrange(5)))
            header = head + b"'shape': " + repr(shape).encode() + rest[rest.find(b")") + 1 :]
        case 1:
            head, _, rest = header.partition(b"'descr': '")
            new = rng.choice(_DTYPES).encode()
            header = head + b"'descr': '" + new + rest[rest.find(b"'") :]
        case 2:
            header = header.replace(b"False", rng.choice((b"True", b"0", b"[]", b"-" * 900)))
        case 3:
            header = change_bytes(rng, header)
        case 4:
            at = rng.randrange(len(body) + 1)
            new = rng.choice((b"\xff" * 4, b"\0" * 8, b"\x80\x7f", b"\0\0\xc0\x7f", b"\0\0\0\x80"))
            body = body[:at] + new + body[at + len(new) :]
        case _:
            body = body + body if rng.random() < 0.3 else change_bytes(rng, body)
    version = bytes((rng.choice((1, 1, 1, 1, 2, 3, 9)), 0))
    size = len(header) if rng.random() < 0.95 else rng.randrange(65536)
    return data[:6] + version + struct.pack("<H", size % 65536) + header + body


# -- zip ------------------------------------------------------------------------------------------


def _zipped(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.writestr(info, data)
    return file.getvalue()


def zip_mutator(inner: Callable[[str], Mutator]) -> Mutator:
    """Changes to the members of a zip file. `inner` gives the changes for a member's name."""

    def mutate(rng: random.Random, data: bytes) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [(name, archive.read(name)) for name in archive.namelist()[:40]]
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, zlib.error,
                NotImplementedError, struct.error, LookupError):  # fmt: skip
            return change_bytes(rng, data)
        if not members:
            return change_bytes(rng, data)
        i = rng.randrange(len(members))
        name, content = members[i]
        method = zipfile.ZIP_STORED
        match rng.randrange(10):
            case 0:
                del members[i]
            case 1:
                other = rng.choice(("meta.npy", "x", "../x", "", "é", "\x1b[31m.npy", name.upper()))
                members[i] = (other, content)
            case 2:
                members.append(("x" + name, content))
            case 3:
                members[i] = (name, members[rng.randrange(len(members))][1])
            case 4:
                method = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            case 5:
                members[i] = (name, content + b"\0" * rng.choice((1, 5000)))
            case _:
                members[i] = (name, inner(name)(rng, content))
        made = _zipped([m for m in members if m[0]], method)
        return change_bytes(rng, made) if rng.random() < 0.1 else made

    return mutate


# -- safetensors ----------------------------------------------------------------------------------


def safetensors(header: object, body: bytes) -> bytes:
    """A safetensors file with this header, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def change_safetensors(rng: random.Random, data: bytes) -> bytes:
    """A safetensors file with another header or other values."""
    if len(data) < 10:
        return change_bytes(rng, data)
    length = struct.unpack("<Q", data[:8])[0]
    text, body = data[8 : 8 + length], data[8 + length :]
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        return change_bytes(rng, data)
    match rng.randrange(6):
        case 0:
            body = change_bytes(rng, body)
        case 1 if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
            inner = str(header["__metadata__"].get("meta", "{}"))
            new = json_mutator(rng, inner.encode("utf-8", "surrogatepass"))
            header["__metadata__"]["meta"] = new.decode("utf-8", "replace")
        case 2 if isinstance(header, dict) and header:
            one = header[rng.choice(sorted(header))]
            if isinstance(one, dict):
                one["dtype"] = rng.choice(("F16", "F32", "F64", "BF16", "I64", "BOOL", "F8_E4M3"))
        case _:
            header = changed_json(rng, header)
    try:
        text = json.dumps(header).encode()
    except UnicodeEncodeError:
        return change_bytes(rng, data)
    made = safetensors(text + b" " * (-len(text) % 8), body)
    return change_bytes(rng, made) if rng.random() < 0.1 else made


# -- PNG and TIFF ---------------------------------------------------------------------------------


def change_png(rng: random.Random, data: bytes) -> bytes:
    """A PNG with changed, lost, doubled or new chunks; checksums are right."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return change_bytes(rng, data)
    chunks, at = [], 8
    while at + 12 <= len(data) and len(chunks) < 60:
        length = min(struct.unpack(">I", data[at : at + 4])[0], len(data))
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return change_bytes(rng, data)
    i = rng.randrange(len(chunks))
    kind, body = chunks[i]
    match rng.randrange(8):
        case 0:
            del chunks[i]
        case 1:
            chunks.insert(rng.randrange(len(chunks) + 1), chunks[i])
        case 2:
            new = rng.choice((b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"zTXt",
                              b"gAMA",
                              b"iTXt", b"sBIT", b"cHRM", b"fdAT", b"tEXt"))  # fmt: skip
            text = rng.choice((b"", b"x\0\0" + zlib.compress(b"y" * 99), rng.randbytes(12)))
            chunks.insert(1, (new, text))
        case 3 if kind == b"IHDR" and len(body) == 13:
            depth, colour = rng.choice((1, 2, 4, 8, 16, 3)), rng.choice((0, 2, 3, 4, 6, 1))
            chunks[i] = (kind, body[:8] + bytes((depth, colour)) + body[10:])
        case 4 if kind == b"IHDR" and len(body) == 13:
            sides = struct.pack(">II", rng.choice(_SIDES) % 2**32, rng.choice(_SIDES) % 2**32)
            chunks[i] = (kind, sides + body[8:])
        case 5 if kind == b"IDAT":
            try:
                chunks[i] = (kind, zlib.compress(change_bytes(rng, zlib.decompress(body))))
            except zlib.error:
                chunks[i] = (kind, change_bytes(rng, body))
        case _:
            chunks[i] = (kind, change_bytes(rng, body))
    found = data[:8]
    for kind, body in chunks:
        found += struct.pack(">I", len(body)) + kind + body
        found += struct.pack(">I", zlib.crc32(kind + body))
    return found


_TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 317, 320, 322,
         323, 324, 325, 338, 339, 347, 700, 33550, 33922, 34264, 34665, 34675, 34735, 42112,
         42113)  # fmt: skip
_TAG_VALUES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 1000, 5000, 32773, 32946, 34887, 34925, 50000,
               50001, 50002, 65535, 2**31, 2**32 - 1)  # fmt: skip


def change_tiff(rng: random.Random, data: bytes) -> bytes:
    """A TIFF with another tag, type, count or value in its first directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 16:
        return change_bytes(rng, data)
    at = struct.unpack(f"{order}I", data[4:8])[0]
    if at + 2 > len(data):
        return change_bytes(rng, data)
    count = struct.unpack(f"{order}H", data[at : at + 2])[0]
    if not 0 < count < 100 or at + 2 + 12 * count > len(data):
        return change_bytes(rng, data)
    entry = at + 2 + 12 * rng.randrange(count)
    found = bytearray(data)
    match rng.randrange(5):
        case 0:
            found[entry : entry + 2] = struct.pack(f"{order}H", rng.choice(_TAGS))
        case 1:
            found[entry + 2 : entry + 4] = struct.pack(f"{order}H", rng.randrange(20))
        case 2:
            value = rng.choice((0, 1, 2, 3, 4, 100, 2**16, 2**31))
            found[entry + 4 : entry + 8] = struct.pack(f"{order}I", value)
        case 3:
            short = struct.unpack(f"{order}H", data[entry + 2 : entry + 4])[0] == 3
            value = rng.choice(_TAG_VALUES)
            form = f"{order}HH" if short else f"{order}I"
            numbers = (value % 65536, 0) if short else (value,)
            found[entry + 8 : entry + 12] = struct.pack(form, *numbers)
        case _:
            return change_bytes(rng, data)
    return bytes(found)


# -- several files --------------------------------------------------------------------------------


def bundle(*parts: bytes) -> bytes:
    """Several files as one input: each but the last has its length in front."""
    return b"".join(struct.pack("<I", len(p)) + p for p in parts[:-1]) + parts[-1]


def unbundle(data: bytes, count: int) -> list[bytes]:
    """The `count` files of an input; every input can be taken apart."""
    found = []
    for _ in range(count - 1):
        length = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return [*found, data]


def bundle_mutator(*inner: Mutator) -> Mutator:
    """Changes to one file of a bundle; `inner` has the changes for each of them."""

    def mutate(rng: random.Random, data: bytes) -> bytes:
        parts = unbundle(data, len(inner))
        i = rng.randrange(len(parts))
        parts[i] = (inner[i] if rng.random() < 0.8 else change_bytes)(rng, parts[i])
        return bundle(*parts)

    return mutate
