"""Values of the command line: settings, sizes, numbers, names of networks and formats."""

from __future__ import annotations

from hypothesis import strategies as st

from fuzz.mutate import change_text
from fuzz.target import Box, Target
from fuzz.targets.settings import _NAMES
from regiontree.export import FORMATS, find_format
from regiontree.export.command import _options
from regiontree.images import parse_size
from regiontree.settings import FLAT_NAMES, Settings, known_keys
from regiontree.settings.command import given_settings, settings_table

__all__ = ["TARGETS"]


def _texts(data: bytes) -> list[str]:
    """Lines as the system hands them over: bytes that are not UTF-8 become surrogates."""
    return [
        line.decode("utf-8", "surrogateescape") for line in data.replace(b"\0", b"").split(b"\n")
    ]


def _set(box: Box, data: bytes) -> None:
    given = given_settings({}, assignments=_texts(data)[:6])
    chosen = Settings.make(given.pop("preset"), **given)
    assert settings_table(chosen)
    settings_table(chosen, as_json=True)


def _size(box: Box, data: bytes) -> None:
    size = parse_size(_texts(data)[0])
    sides = (size,) if isinstance(size, int) else size
    assert len(sides) <= 2
    assert all(type(side) is int and 1 <= side <= 65536 for side in sides)


def _option(box: Box, data: bytes) -> None:
    name, *assignments = _texts(data)[:5]
    _options(find_format(name), {}, assignments, ())


def _name(box: Box, data: bytes) -> None:
    from regiontree.backbones.weights import _origin

    _origin(_texts(data)[0])


def _assignments() -> st.SearchStrategy[bytes]:
    value = st.one_of(
        st.sampled_from(["none", "true", "1e999", "nan", "-1", "0", "840x840", "[1, 2]", "{a: b}",
                         "ward", "minmax", "2001-01-01", "0x10", "1_000", "&a [*a]", "~", "",
                         "1:30", "0b1", "!!python/name:os.system", "9" * 5000]),
        st.integers().map(str), st.floats().map(str), st.text(max_size=6),
    )  # fmt: skip
    key = st.sampled_from([*known_keys(), *FLAT_NAMES])
    one = st.tuples(key, value).map("=".join)
    return st.lists(one, min_size=1, max_size=3).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
    )


_OPTIONS = ("n_regions=3", "height=0.5", "depth=2", "all_nodes=true", "transform=1,0,0,0,-1,0",
            "crs=EPSG:4326", "granularities=2,4", "url_prefix=x")  # fmt: skip
_OPTION_NAMES = ("format", "option", *FORMATS, *(text.partition("=")[0] for text in _OPTIONS))


def _set_seeds() -> list[bytes]:
    each = [f"{key}=1".encode() for key in known_keys()]
    return [*each[::3], b"view.size=840x840\nparts.count=200", b"smooth.contrast=none"]


def _option_seeds() -> list[bytes]:
    return [f"{form}\n{option}".encode() for form in FORMATS for option in _OPTIONS][::3]


def _name_seeds() -> list[bytes]:
    return [b"owner/model", b"./x", b"onnx:a"]


TARGETS = (
    Target("words.set", _set, _set_seeds, (change_text,), _assignments, names=_NAMES),
    Target(
        "words.size",
        _size,
        lambda: [b"840", b"840x1680"],
        (change_text,),
        names=("size",),
        share=0.3,
    ),
    Target("words.option", _option, _option_seeds, (change_text,), names=_OPTION_NAMES, share=0.5),
    Target("words.network", _name, _name_seeds, (change_text,), names=("backbone",), share=0.3),
)
