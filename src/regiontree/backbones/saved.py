"""A network of the library transformers from a folder on disk, checked.

The library loads the weights, whatever names they were saved under. This file makes sure that they
are whole and belong to the network, and says in plain words what is wrong. Nothing here uses the
internet or runs code that came with the weights.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regiontree.errors import BackboneError, MissingExtraError
from regiontree.system.locks import Together

__all__ = ["EXTRA", "load_network", "pixel_statistics", "read_json"]

EXTRA = "pip install -U 'regiontree[hub]'"
"""What installs transformers."""


def load_network(
    folder: Path,
    model: str,
    parts: tuple[str, ...],
    dtype: torch.dtype,
    config: dict[str, Any],
    weights: dict[str, Tensor] | None,
    **options: object,
) -> Any:
    """The library's network with the folder's weights, or with `weights` if there are any."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    library = import_module("transformers")
    if not hasattr(library, model):
        raise MissingExtraError(f"transformers {library.__version__} has no {model}: {EXTRA}")
    network = getattr(library, model)
    how: dict[str, object] = {
        "local_files_only": True,
        "trust_remote_code": False,
        "weights_only": True,
        "dtype": dtype,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
    }
    if network._supports_sdpa:
        how["attn_implementation"] = "sdpa"
    try:
        with _quiet():
            if weights is None:
                loaded, report = network.from_pretrained(folder, **how, **options)
            else:
                settings = network.config_class(**config)
                loaded, report = network.from_pretrained(
                    None, config=settings, state_dict=weights, **how
                )
    except SafetensorError as error:
        raise BackboneError(f"{folder}: damaged weights ({error}); download them again") from None
    except pickle.UnpicklingError:
        raise BackboneError(
            f"{folder}: the weights are damaged, or hold more than tensors, which could run code; "
            "download them again, as safetensors if there are any"
        ) from None
    except (OSError, EOFError, ImportError, LookupError, RuntimeError, TypeError, ValueError,
            AttributeError, ArithmeticError, StrictDataclassError) as error:  # fmt: skip
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise BackboneError(
            f"{folder}: transformers {library.__version__} cannot make a {model} of it ({reason}); "
            "see that config.json and the weights are whole and belong together"
        ) from error
    _check_report(folder, model, parts, report)
    _check_sizes(folder, loaded.config)
    return loaded


def _check_report(folder: Path, model: str, parts: tuple[str, ...], report: dict[str, Any]) -> None:
    """Raise a BackboneError unless the `parts` that features use are the weights', all of them."""
    unused = ("pooler.", "head.")
    missing = sorted(
        name
        for name in report["missing_keys"]
        if not name.startswith(unused) and not name.endswith("mask_token")
    )
    odd = sorted(
        f"{name} {tuple(there)}, not {tuple(wanted)}"
        for name, there, wanted in report["mismatched_keys"]
        if not name.startswith(unused)
    )
    spare = sorted(
        name
        for name in report["unexpected_keys"]
        if name.startswith(tuple(f"{part}." for part in parts))
        and not name.endswith(("mask_token", "position_ids"))
    )
    for names, what in (
        (missing, "the weights lack"),
        (odd, "weights of another shape than config.json says:"),
        (spare, "config.json has no place for the weights"),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise BackboneError(
                f"{folder}: {what} {', '.join(names[:3])}{more}; it is not a whole {model}, or "
                "config.json belongs to another: download both again"
            )


def _check_sizes(folder: Path, config: Any) -> None:
    """Raise a BackboneError unless the network is for RGB in square patches, of square images."""
    config = getattr(config, "vision_config", config)  # of two networks, that of images
    patch, side = getattr(config, "patch_size", 1), getattr(config, "image_size", 1)
    for right, what in (
        (config.num_channels == 3, f"images of {config.num_channels} channels, not RGB"),
        (isinstance(patch, int), f"patches of {patch} pixels, not squares of one size"),
        (isinstance(side, int) or len(set(side)) == 1, f"images of {side}, not squares"),
    ):
        if not right:
            raise BackboneError(f"{folder}: config.json says {what}; take another network")


def _hush() -> Callable[[], None]:
    library = import_module("transformers").utils.logging
    log, bars = logging.getLogger("transformers"), library.is_progress_bar_enabled()
    level = log.level
    log.setLevel(logging.ERROR)
    library.disable_progress_bar()

    def take_back() -> None:
        log.setLevel(level)
        if bars:
            library.enable_progress_bar()

    return take_back


_quiet = Together(_hush)
"""Without progress bars and reports, which are about heads and towers left out on purpose."""


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file of a model's folder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackboneError(
            f"{path}: cannot be read ({error.strerror}); a backbone's folder holds config.json and "
            "the weights, model.safetensors"
        ) from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BackboneError(f"{path}: is damaged or not JSON; download it again")
    return found


def pixel_statistics(
    folder: Path, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What preprocessor_config.json says about pixels, else what was given."""
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return mean, deviation
    said = read_json(path)
    if not said.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    try:
        both = [said.get("image_mean", mean), said.get("image_std", deviation)]
        found = torch.tensor(both, dtype=torch.float32, device="cpu")
        right = found.shape == (2, 3) and bool(found.isfinite().all() and (found[1] > 0).all())
    except (TypeError, ValueError, RuntimeError, OverflowError):
        right = False
    if not right:
        raise BackboneError(
            f"{path}: image_mean and image_std must be three numbers each, the latter above 0, got "
            f"{said.get('image_mean')} and {said.get('image_std')}"
        )
    return tuple(found[0].tolist()), tuple(found[1].tolist())
