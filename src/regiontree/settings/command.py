"""Settings on the command line: ``--config FILE``, ``--set stage.key=value``, and their table."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regiontree.errors import ConfigError, SettingsError, nearest_name
from regiontree.settings.names import FLAT_NAMES, dotted
from regiontree.settings.record import Settings
from regiontree.settings.stages import CHOICES, RECORDS, known_keys
from regiontree.system.reading import read_mapping
from regiontree.system.stages import Key, value_of_text

__all__ = ["assigned", "given_settings", "settings_table"]

_STAGES = {
    "backbone": "which network, in which precision, and which of its features",
    "view": "at which size and how often the network sees the photograph",
    "smooth": "how far features are smoothed over the patch grid",
    "affinity": "how similarity of features becomes affinity",
    "parts": "how patches are grouped into parts",
    "tree": "how parts become a tree",
    "refine": "how borders move from patches to pixels",
}


def given_settings(
    options: Mapping[str, Any],
    *,
    preset: str | None = None,
    config: Path | None = None,
    assignments: Sequence[str] = (),
) -> dict[str, Any]:
    """The settings that the command line gives, as keyword arguments of ``RegionParser``.

    Options and ``--set`` replace the values of the file.

    Parameters
    ----------
    options
        Settings with an option of their own, by name.
    preset
        ``--preset``, if it was given.
    config
        ``--config``: a YAML or JSON file with settings by stage. It may also have ``preset``.
    assignments
        ``--set``, each ``stage.key=value``.

    Raises
    ------
    ConfigError
        The file cannot be read, or names a setting that does not exist.
    SettingsError
        A text is not an assignment, a name is unknown, or two values contradict each other.
    """
    given = dotted({**options, **_own(assigned(assignments), options)})
    found: dict[str, Any] = {}
    if config is not None:
        found = read_mapping(config, "a file of settings")
        chosen = found.pop("preset", "default")
        preset = preset or str(chosen)
        try:
            found = {key: one.value for key, one in dotted(found).items()}
        except SettingsError as error:
            raise ConfigError(f"{config}: {error}") from error
    changes = {**found, **{key: one.value for key, one in given.items()}}
    return {"preset": preset or "default", **changes}


def _own(assigned: Mapping[str, Any], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The assignments, after a check that no option gives the same setting another value."""
    for name in assigned.keys() & options.keys():
        if assigned[name] != options[name]:
            raise SettingsError(
                f"--set {name}={assigned[name]} contradicts {options[name]!r}; give one of them"
            )
    return assigned


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """Settings by name from ``name=value`` texts. Values are read as YAML.

    Raises
    ------
    SettingsError
        A text is not an assignment, its name is unknown, or a setting is given twice.

    Examples
    --------
    >>> assigned(["parts.count=200", "smooth.contrast=none", "view.size=840x840"])
    {'parts.count': 200, 'smooth.contrast': None, 'view.size': '840x840'}
    """
    found: dict[str, Any] = {}
    known = known_keys()
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise SettingsError(f"--set must be stage.key=value, got {text!r}")
        key = known.get(FLAT_NAMES.get(name, (name,))[0])
        if key is None:
            hint = nearest_name(name, [*known, *FLAT_NAMES])
            raise SettingsError(f"unknown setting {name!r}{hint} 'regiontree settings' lists them")
        if name in found:
            raise SettingsError(f"--set {name} is given twice; give it once")
        found[name] = value_of_text(key, value.strip())
    return found


# -- the table ------------------------------------------------------------------------------------


def settings_table(
    settings: Settings, *, only: str | None = None, as_json: bool = False, width: int = 100
) -> str:
    """Every setting with its value, range and meaning, for people or as JSON.

    Parameters
    ----------
    settings
        The settings whose values are printed.
    only
        A stage or a setting. If None, all settings.
    as_json
        Whether to give a JSON list with one mapping for each setting instead of text.
    width
        Width of the text in characters.

    Raises
    ------
    SettingsError
        `only` is neither a stage nor a setting.
    """
    rows = list(_rows(settings))
    if only is not None:
        only = FLAT_NAMES.get(only, (only,))[0] if only not in _STAGES else only
        rows = [row for row in rows if only in (row["name"], row["name"].partition(".")[0])]
        if not rows:
            names = [*_STAGES, *known_keys(), *FLAT_NAMES]
            raise SettingsError(
                f"no stage or setting is called {only!r}{nearest_name(only, names)}"
            )
    if as_json:
        return json.dumps(rows, indent=1)
    lines: list[str] = []
    stage = method = None
    for row in rows:
        now = row["name"].partition(".")[0]
        if now != stage:
            what = _STAGES.get(now)
            lines += ["", f"{now}: {what}" if what else now]
            stage, method = now, None
        if row["with"] and row["with"] != method:
            lines += ["", f"  with {row['with']}:"]
        method = row["with"]
        lines.append(f"  {row['name']} = {_shown(row['value'])}")
        said = f"{row['meaning']} [{row['range']}]"
        if row["only if"]:
            said += f" Used if {row['only if']}."
        lines += textwrap.wrap(said, width, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines).strip("\n")


def _rows(settings: Settings) -> Iterator[dict[str, Any]]:
    """A mapping for each setting. In each stage, the settings in use come before the others."""
    values, methods = settings.values(), settings.methods
    used = known_keys(methods)
    for stage in (*RECORDS, *CHOICES, "seed", "embeddings", "stability"):
        for name, key in used.items():
            if name.partition(".")[0] == stage:
                yield _row(name, key, values[name], None)
        choice = CHOICES.get(stage)
        for other in () if choice is None else choice.names():
            if choice is not None and other != methods[stage]:
                for key in choice.keys(other).values():
                    text = f"{stage}.{choice.selector}={other}"
                    yield _row(f"{stage}.{key.name}", key, key.default, text)


def _row(name: str, key: Key, value: Any, method: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "value": list(value) if isinstance(value, tuple) else value,
        "default": key.default,
        "range": key.range_text,
        "meaning": key.meaning,
        "only if": key.only_if.text if key.only_if else None,
        "with": method,
    }


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
