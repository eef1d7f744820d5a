"""The same model as a class of Label Studio's own framework, label-studio-ml.

A folder with a ``model.py`` of one line is a backend that ``label-studio-ml start FOLDER`` serves::

    from regiontree.bridges.labelstudioml import RegionTreeModel

Version 2, which is on GitHub, installs a server. So does 1.0.9 on PyPI, whose server does not start
with packages of today; ``regiontree label-studio`` needs neither.

The settings come from the environment: ``REGIONTREE_REGIONS``, ``REGIONTREE_LABEL``,
``REGIONTREE_PRESET``, ``REGIONTREE_DEVICE``; and ``LABEL_STUDIO_URL`` and ``LABEL_STUDIO_API_KEY``,
which must be set: the framework does not hand on the address that Label Studio tells.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from regiontree.bridges.backend import Backend
from regiontree.bridges.command import backend_of
from regiontree.errors import MissingExtraError, SettingsError
from regiontree.system.locks import Lock

if TYPE_CHECKING:

    class _Base:
        label_config: str

        def __init__(self, *given: Any, **named: Any) -> None: ...

else:
    try:
        from label_studio_ml.model import LabelStudioMLBase as _Base
    except ImportError as error:
        raise MissingExtraError(
            f"regiontree.bridges.labelstudioml needs label-studio-ml ({error}); install it from "
            "github.com/HumanSignal/label-studio-ml-backend, or run 'regiontree label-studio', "
            "which needs only regiontree[label-studio]"
        ) from error

__all__ = ["RegionTreeModel"]

_backend: Backend | None = None
_making = Lock()


class RegionTreeModel(_Base):
    """regiontree as a ``LabelStudioMLBase``.

    The framework makes an object for each request. All of them share one network and its trees.
    """

    def predict(
        self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **_: Any
    ) -> list[Any]:
        """The predictions of tasks, or that of a click: see :class:`Backend`.

        Raises
        ------
        RegionTreeError
            A photograph cannot be read, or the labelling interface does not fit.
        """
        project = getattr(self, "project_id", None) or ""
        request = {
            "tasks": tasks,
            "project": project,
            "label_config": self.label_config,
            "params": {"context": context},
        }
        results: list[Any] = _shared().predict(request)["results"]
        return results

    def fit(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nothing: the model does not learn from annotations."""
        return {}


def _shared() -> Backend:
    """The model of this process, made when it is first asked for."""
    global _backend
    with _making:
        if _backend is None:
            _backend = _from_environment()
        return _backend


def _from_environment() -> Backend:
    given = os.environ.get("REGIONTREE_REGIONS", "24")
    if not given.isdecimal():
        raise SettingsError(f"REGIONTREE_REGIONS must be a whole number, got {given!r}")
    named = {"preset": "REGIONTREE_PRESET", "device": "REGIONTREE_DEVICE"}
    options = {key: os.environ[name] for key, name in named.items() if os.environ.get(name)}
    label = os.environ.get("REGIONTREE_LABEL") or None
    return backend_of(options, regions=int(given), label=label)
