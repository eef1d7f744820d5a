"""The same model as a class of Label Studio's own framework, label-studio-ml.

A folder with a ``model.py`` of one line is a backend that ``label-studio-ml start FOLDER`` serves::

    from regiontree.bridges.labelstudioml import RegionTreeModel

Version 2, which is on GitHub, installs a server. So does 1.0.9 on PyPI, whose server does not start
with packages of today; ``regiontree label-studio`` needs neither.

The settings come from the environment: ``REGIONTREE_REGIONS``, ``REGIONTREE_LABELS`` (with commas),
``REGIONTREE_PRESET``, ``REGIONTREE_DEVICE``; and ``LABEL_STUDIO_URL`` and ``LABEL_STUDIO_API_KEY``,
which must be set: the framework does not hand on the address that Label Studio tells.
"""

from __future__ import annotations

import os
from typing import Any

from regiontree.bridges.backend import Backend
from regiontree.bridges.command import backend_of
from regiontree.errors import MissingExtraError, SettingsError
from regiontree.system.locks import Lock

__all__ = ["predictions"]

_backend: Backend | None = None
_model: type[Any] | None = None
_making = Lock()


def __getattr__(name: str) -> Any:
    """``RegionTreeModel``, a ``LabelStudioMLBase``; made when it is first asked for.

    Raises
    ------
    MissingExtraError
        label-studio-ml is not installed, or cannot be imported.
    """
    global _model
    if name != "RegionTreeModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _model is None:
        _model = _made()
    return _model


def _made() -> type[Any]:
    """The class. The framework makes an object for each request; all share one network."""
    try:
        from label_studio_ml.model import LabelStudioMLBase
    except ImportError as error:
        raise MissingExtraError(
            f"RegionTreeModel needs label-studio-ml ({error}); install it from "
            "github.com/HumanSignal/label-studio-ml-backend, or run 'regiontree label-studio', "
            "which needs only regiontree[labelstudio]"
        ) from error

    class RegionTreeModel(LabelStudioMLBase):  # type: ignore[misc]
        """regiontree as a ``LabelStudioMLBase``."""

        def setup(self) -> None:
            """Tells version 2 of the framework the model's version."""
            self.set("model_version", _shared().model_version)

        def predict(self, tasks: Any, context: Any = None, **_: Any) -> list[Any]:
            """The predictions of tasks, or that of a click."""
            project = getattr(self, "project_id", None) or ""
            return predictions(tasks, self.label_config, context, project)

        def fit(self, *_: Any, **__: Any) -> dict[str, Any]:
            """Nothing: the model does not learn from annotations."""
            return {}

    RegionTreeModel.__module__ = __name__
    return RegionTreeModel


def predictions(
    tasks: list[dict[str, Any]],
    label_config: str,
    context: dict[str, Any] | None = None,
    project: str = "",
) -> list[Any]:
    """The predictions of tasks, or that of a click, by the model that the environment describes.

    Raises
    ------
    RegionTreeError
        A setting is wrong, a photograph cannot be read, or the labelling interface does not fit.
    """
    request = {
        "tasks": tasks,
        "project": project,
        "label_config": label_config,
        "params": {"context": context},
    }
    found: list[Any] = _shared().predict(request)["results"]
    return found


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
    labels = [label for label in os.environ.get("REGIONTREE_LABELS", "").split(",") if label]
    return backend_of(options, regions=int(given), labels=labels)
