"""Settings of one stage: frozen records whose fields know their default, range and meaning.

A stage's settings are the fields of a frozen dataclass. :func:`setting` declares a field, and
:func:`check_settings` checks all of them when the record is made. What a field knows is also what
``regiontree settings`` prints, so a default or a range is written down in one place only.

>>> @dataclass(frozen=True)
... class Blur:
...     kind: str = setting("gauss", "Kernel.", choices=("gauss", "box"))
...     sigma: float = setting(1.0, "Standard deviation in pixels.", low=0.1, high=10,
...                            only_if=OnlyIf("kind", ("gauss",)))
...     def __post_init__(self):
...         check_settings(self)
>>> Blur(sigma=20)
Traceback (most recent call last):
regiontree.errors.SettingsError: sigma must be a number in [0.1, 10], got 20
>>> keys_of(Blur)["sigma"].range_text
'0.1 to 10'
>>> unused_keys(Blur("box", sigma=2.0))
{'sigma': 'kind is gauss'}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from regiontree.errors import SettingsError, check_number

__all__ = [
    "Key",
    "OnlyIf",
    "build_record",
    "check_settings",
    "keys_of",
    "setting",
    "unused_keys",
    "values_of",
]

R = TypeVar("R")
_MARK = "regiontree"  # of a field's metadata


@dataclass(frozen=True, slots=True)
class OnlyIf:
    """When a setting has an effect: another setting of the record has one of some values.

    Attributes
    ----------
    key : str
        The other setting.
    values : tuple
        Values of it with which the setting is used; empty: every value above 0.
    """

    key: str
    values: tuple[Any, ...] = ()

    def holds(self, record: Any) -> bool:
        """Whether the setting has an effect in this record."""
        value = getattr(record, self.key)
        return value in self.values if self.values else value > 0

    @property
    def text(self) -> str:
        """The condition in words: ``kind is exp``."""
        wanted = " or ".join(map(str, self.values)) if self.values else "above 0"
        return f"{self.key} is {wanted}"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of one setting.

    Attributes
    ----------
    name : str
        Its field, without the stage.
    default : object
    meaning : str
        One sentence or two for a reader who does not know the method.
    low, high : float or None
        The range of a number, both ends included; `below` leaves out the upper end.
    whole : bool
        Whether it is a whole number.
    choices : tuple
        The values that it may have; empty if it has no list.
    none : str or None
        What None means; None: it may not be None.
    form : str or None
        The form of a value that is no single number or word, in words.
    parse : callable or None
        Brings such a value to its one form; raises a SettingsError.
    only_if : OnlyIf or None
        When it has an effect; None: always.
    """

    name: str
    default: Any
    meaning: str = ""
    low: float | None = None
    high: float | None = None
    below: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()
    none: str | None = None
    form: str | None = None
    parse: Callable[[Any], Any] | None = None
    only_if: OnlyIf | None = None

    @property
    def range_text(self) -> str:
        """The values that it may have, in words."""
        if self.choices:
            said = ", ".join(map(str, self.choices))
        elif self.low is not None and self.high is not None:
            said = f"{self.low:g} to {'below ' if self.below else ''}{self.high:g}"
        else:
            said = self.form or "text"
        return f"{said}, or none: {self.none}" if self.none else said

    def checked(self, value: Any) -> Any:
        """The value in its one form.

        Raises
        ------
        SettingsError
            The value is of the wrong kind or outside the range; the message starts with the name.
        """
        if hasattr(value, "item") and getattr(value, "shape", None) == ():
            value = value.item()  # NumPy's numbers count as Python's
        if value is None:
            if self.none is None:
                raise SettingsError(f"{self.name} must be {self._wanted}, got None")
        elif isinstance(value, bool) and not isinstance(self.default, bool):
            raise SettingsError(f"{self.name} must be {self._wanted}, got {value!r}")
        elif self.parse is not None:
            value = self.parse(value)
        elif self.choices:
            if value not in self.choices:
                raise SettingsError(f"{self.name} must be {self._wanted}, got {value!r}")
        elif self.low is not None and self.high is not None:
            check_number(self.name, value, self.low, self.high, whole=self.whole, below=self.below)
        elif isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise SettingsError(f"{self.name} must be true or false, got {value!r}")
        elif isinstance(self.default, str) and not (isinstance(value, str) and value):
            raise SettingsError(f"{self.name} must be text, got {value!r}")
        return value

    @property
    def _wanted(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.low is None:
            return self.form or "text"
        return f"a {'whole ' * self.whole}number in {self.range_text}"


def setting(default: Any, meaning: str, **known: Any) -> Any:
    """A field of a stage's record.

    Parameters
    ----------
    default
        The value when nothing is said.
    meaning
        One sentence or two for a reader who does not know the method.
    **known
        Any other attribute of :class:`Key`; another name is a TypeError.
    """
    key = Key("", default, meaning, **known)
    return dataclasses.field(default=default, metadata={_MARK: key})


def keys_of(record: Any) -> dict[str, Key]:
    """The settings of a record or of its class, by name.

    A plain field counts as a setting too, except ``name``. The fields of a record within the record
    count as its own.
    """
    found: dict[str, Key] = {}
    for field, nested in _fields(record):
        if nested is not None:
            found |= keys_of(nested)
        elif (key := field.metadata.get(_MARK)) is not None:
            found[field.name] = dataclasses.replace(key, name=field.name)
        else:
            found[field.name] = Key(field.name, field.default)
    if isinstance(record, type):
        return found
    # A record within the record may start from other values than its class does.
    values = values_of(record)
    return {name: dataclasses.replace(key, default=values[name]) for name, key in found.items()}


def values_of(record: Any) -> dict[str, Any]:
    """The values of a record's settings, by name, in the order of :func:`keys_of`."""
    found: dict[str, Any] = {}
    for field, nested in _fields(record):
        value = getattr(record, field.name)
        found |= values_of(value) if nested is not None else {field.name: value}
    return found


def build_record(kind: Callable[..., R], stage: str, values: Mapping[str, Any]) -> R:
    """The record of a class with these values, the others as they are by default.

    Raises
    ------
    SettingsError
        A value is wrong; the message starts with ``stage.key``.
    """
    try:
        plain = {}
        for field, nested in _fields(kind):
            if nested is not None:
                inner = {name: values[name] for name in keys_of(nested) if name in values}
                plain[field.name] = dataclasses.replace(nested, **inner)
            elif field.name in values:
                plain[field.name] = values[field.name]
        return kind(**plain)
    except SettingsError as error:
        raise SettingsError(f"{stage}.{error}") from error


def check_settings(record: Any) -> None:
    """Check every setting of a record and bring it to its one form; for ``__post_init__``.

    Raises
    ------
    SettingsError
        Naming the first setting whose value is of the wrong kind or outside its range.
    """
    for field in dataclasses.fields(record):
        key = field.metadata.get(_MARK)
        if key is not None:
            value = dataclasses.replace(key, name=field.name).checked(getattr(record, field.name))
            object.__setattr__(record, field.name, value)


def unused_keys(record: Any) -> dict[str, str]:
    """Settings that have no effect in this record, and when they would have one."""
    conditions = {name: key.only_if for name, key in keys_of(record).items() if key.only_if}
    return {name: only.text for name, only in conditions.items() if not only.holds(record)}


def _fields(record: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    """The fields that hold settings, each with its default record if it holds a record."""
    found = []
    for field in dataclasses.fields(record):
        if field.name == "name" and _MARK not in field.metadata:
            continue
        factory = field.default_factory
        nested = None if factory is dataclasses.MISSING else factory()
        found.append((field, nested if dataclasses.is_dataclass(nested) else None))
    return found
