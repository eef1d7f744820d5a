"""Settings of one stage: frozen records whose fields have a default, a range and a meaning.

A stage's settings are the fields of a frozen dataclass. :func:`setting` declares a field, and
:func:`check_settings` checks all fields when the record is made. ``regiontree settings`` prints the
same defaults, ranges and meanings. So each of them is written down in one place only.

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
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from regiontree.errors import SettingsError, check_number, plain_value

__all__ = [
    "Key",
    "OnlyIf",
    "build_record",
    "check_settings",
    "keys_of",
    "setting",
    "unused_keys",
    "value_of_text",
    "values_of",
]

R = TypeVar("R")
_MARK = "regiontree"  # key of the metadata of a field


@dataclass(frozen=True, slots=True)
class OnlyIf:
    """The condition under which a setting has an effect: the value of another setting.

    Attributes
    ----------
    key : str
        The other setting.
    values : tuple
        The setting has an effect if the other setting has one of these values. Empty: any value
        above 0.
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
    """The description of one setting.

    Attributes
    ----------
    name : str
        Name of the field, without the stage.
    default : object
    meaning : str
        One sentence or two for a reader who does not know the method.
    low, high : float or None
        The range of a number. Both ends are allowed.
    below : bool
        Whether the value must be below `high`, so that `high` itself is not allowed.
    whole : bool
        Whether the value must be a whole number.
    choices : tuple
        The allowed values. Empty: there is no list.
    none : str or None
        Meaning of the value None. If this is None, the value must not be None.
    form : str or None
        The form of a value, in words, if it is not a single number or word.
    parse : callable or None
        Function that brings such a value to its one form. It raises a SettingsError for a wrong
        value.
    only_if : OnlyIf or None
        When the setting has an effect. None: always.
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
        """The allowed values, in words."""
        if self.choices:
            said = ", ".join(map(str, self.choices))
        elif self.low is not None and self.high is not None:
            said = f"{self.low:g} to {'below ' if self.below else ''}{self.high:g}"
        else:
            said = self.form or "text"
        return f"{said}, or none: {self.none}" if self.none else said

    def checked(self, value: Any) -> Any:
        """The value in its one form.

        Numbers and texts of NumPy and torch become those of Python, and a path becomes text where
        the setting is text. So settings compare equal and can be written as JSON.

        Raises
        ------
        SettingsError
            The value is of the wrong kind or outside the range; the message starts with the name.
        """
        value = plain_value(value)
        if isinstance(value, os.PathLike) and isinstance(self.default, str):
            value = os.fsdecode(value)
        if value is None:
            if self.none is None:
                raise SettingsError(f"{self.name} must be {self._wanted}, got None")
        elif isinstance(value, bool) and not isinstance(self.default, bool):
            raise SettingsError(f"{self.name} must be {self._wanted}, got {value!r}")
        elif self.parse is not None:
            value = self.parse(value)
        elif self.choices:
            same = [choice for choice in self.choices if _is_same(value, choice)]
            if not same:
                raise SettingsError(f"{self.name} must be {self._wanted}, got {value!r}")
            value = same[0]
        elif self.low is not None and self.high is not None:
            value = check_number(
                self.name, value, self.low, self.high, whole=self.whole, below=self.below
            )
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
        The value that is used if the user gives none.
    meaning
        One sentence or two for a reader who does not know the method.
    **known
        Any other attribute of :class:`Key`. Another name raises a TypeError.
    """
    key = Key("", default, meaning, **known)
    return dataclasses.field(default=default, metadata={_MARK: key})


def keys_of(record: Any) -> dict[str, Key]:
    """The settings of a record or of its class, by name.

    A plain field is a setting too, unless its name is ``name``. If a field holds another record,
    the fields of that nested record are settings of the outer record.
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
    # A nested record may have other defaults than its class.
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
    """A record of a class with these values. The other settings have their defaults.

    Raises
    ------
    SettingsError
        A value is wrong. The message starts with ``stage.key``.
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


def value_of_text(key: Key, text: str) -> Any:
    """The value of a setting from a text on the command line. YAML reads numbers and lists.

    >>> value_of_text(Key("count", 8), "12"), value_of_text(Key("size", 8), "840x840")
    (12, '840x840')
    """
    if text.lower() in ("none", "null", "~"):
        return None if key.none else "none"
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # dates and numbers that cannot be
        return text
    return value if isinstance(value, int | float | list) else text


def check_settings(record: Any) -> None:
    """Check every setting of a record and bring its value to one form. For ``__post_init__``.

    Raises
    ------
    SettingsError
        A value is of the wrong kind or out of its range. The message names the first such setting.
    """
    for field in dataclasses.fields(record):
        key = field.metadata.get(_MARK)
        if key is not None:
            value = dataclasses.replace(key, name=field.name).checked(getattr(record, field.name))
            object.__setattr__(record, field.name, value)


def unused_keys(record: Any) -> dict[str, str]:
    """The settings that have no effect in this record: name -> when it would have one."""
    conditions = {name: key.only_if for name, key in keys_of(record).items() if key.only_if}
    return {name: only.text for name, only in conditions.items() if not only.holds(record)}


def _is_same(value: Any, choice: Any) -> bool:
    """Whether a value is that choice. An array is none, and has no truth value to compare by."""
    return isinstance(value, type(choice)) and bool(value == choice)


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
