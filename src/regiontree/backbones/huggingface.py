"""Any self-supervised network of the library transformers, from a folder on disk, as a backbone.

The library's classes load the weights, whatever names they were saved under, and make up the parts;
this file runs the parts: embeddings, blocks, final norm. So it takes what a
:class:`~regiontree.backbones.base.FeatureSpec` asks for on the way, runs no block that is not
needed, drops the tokens that are no patches, and keeps neither poolers nor heads nor text towers.
Where the parts are is one line a family in ``FAMILIES``. ResNets have stages instead of blocks.

Nothing here reaches for the network or runs code that came with the weights.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regiontree.backbones.base import FeatureSpec
from regiontree.backbones.checkpoints import is_checkpoint, load_checkpoint
from regiontree.backbones.vit import check_size, join_layers, stretch_positions
from regiontree.errors import BackboneError, MissingExtraError, SettingsError

__all__ = ["FAMILIES", "HuggingFaceBackbone"]

IMAGENET: tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
EXTRA = "pip install -U 'regiontree[hub]'"


def _any_size(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    tokens: Tensor = embeddings(pixels)
    return tokens


def _if_told(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    tokens: Tensor = embeddings(pixels, interpolate_pos_encoding=True)
    return tokens


def _unshuffled(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    """MAE sorts the patches by noise, even if it masks none: rising noise leaves them in order."""
    patch: int = embeddings.patch_size  # type: ignore[assignment]
    count = pixels.shape[2] // patch * (pixels.shape[3] // patch)
    noise = torch.arange(count, device=pixels.device).expand(len(pixels), -1)
    tokens: Tensor = embeddings(pixels, noise=noise, interpolate_pos_encoding=True)[0]
    return tokens


def _packed(embeddings: nn.Module, pixels: Tensor) -> Tensor:
    """SigLIP 2 of any resolution takes its patches cut out, each (row, column, channel)."""
    patch: int = embeddings.patch_size  # type: ignore[assignment]
    batch, channels, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    cut = pixels.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 3, 5, 1)
    grids = torch.tensor([[rows, columns]]).expand(batch, -1)
    tokens: Tensor = embeddings(cut.reshape(batch, rows * columns, -1), grids)
    return tokens


@dataclass(frozen=True, slots=True)
class Family:
    """Where a family of vision transformers keeps its parts.

    Attributes
    ----------
    model : str
        Its class, whose part ``embeddings`` makes tokens of pixels, as `embed` asks it to.
    prefix : tuple of int or str
        Tokens before those of the patches: a number, or the configuration's name for one.
    blocks, norm1, attention, norm : str
        The list of blocks; in a block the norm before the attention, and the attention, in which
        queries, keys and values are ``q_proj``, ``k_proj`` and ``v_proj``; the final norm.
    table : str
        The learnt positions in ``embeddings``, stretched to the image's grid by the library
        (bicubic). Empty: rotary ones, or another rule, to which "published" means nothing.
    as_published : bool
        The original repository stretches them as the library does.
    before, rotary : str
        A norm before the blocks; what makes rotary positions for them.
    options : tuple
        Set in the configuration, whatever it says.
    pixels : tuple
        Mean and deviation of pixels in [0, 1] where no preprocessor_config.json says.
    """

    model: str
    prefix: tuple[int | str, ...] = (1,)
    embed: Callable[[nn.Module, Tensor], Tensor] = _if_told
    blocks: str = "layers"
    norm1: str = "layernorm_before"
    attention: str = "attention"
    norm: str = "layernorm"
    table: str = "position_embeddings"
    as_published: bool = False
    before: str = ""
    rotary: str = ""
    options: tuple[tuple[str, object], ...] = ()
    pixels: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET


_DINO = partial(Family, embed=_any_size, blocks="encoder.layer", norm1="norm1")
# CLIP itself puts its last norm on the class token alone. On patches too it tames the few
# directions that otherwise outweigh all others, so methods that use CLIP's patches put it there.
_TOWER = partial(
    Family, blocks="encoder.layers", norm1="layer_norm1", attention="self_attn",
    norm="post_layernorm", table="position_embedding.weight",
)  # fmt: skip
_CLIP = partial(_TOWER, before="pre_layrnorm", pixels=OPENAI)
_SIGLIP = partial(_TOWER, prefix=(), pixels=HALF)

# By model_type in config.json. DINO and MoCo v3 are plain "vit" there, as is DeiT without
# distillation; the SigLIP 2 of one resolution is "siglip".
FAMILIES = {
    "vit": Family("ViTModel"),
    "vit_msn": Family("ViTMSNModel"),
    "vit_mae": Family("ViTMAEModel", embed=_unshuffled, options=(("mask_ratio", 0.0),)),
    "deit": Family("DeiTModel", prefix=(2,)),
    "ijepa": Family("IJepaModel", prefix=()),
    "pixio": Family("PixioModel", prefix=("n_cls_tokens",), embed=_any_size),
    "dinov2": _DINO("Dinov2Model"),
    "dinov2_with_registers": _DINO(
        "Dinov2WithRegistersModel", prefix=(1, "num_register_tokens"), as_published=True
    ),
    "dinov3_vit": _DINO(
        "DINOv3ViTModel", prefix=(1, "num_register_tokens"), blocks="model.layer", norm="norm",
        table="", rotary="rope_embeddings",
    ),
    "clip": _CLIP("CLIPVisionModel"),
    "clip_vision_model": _CLIP("CLIPVisionModel"),
    "metaclip_2": _CLIP("MetaClip2VisionModel"),
    "metaclip_2_vision_model": _CLIP("MetaClip2VisionModel"),
    "siglip": _SIGLIP("SiglipVisionModel"),
    "siglip_vision_model": _SIGLIP("SiglipVisionModel"),
    "siglip2": _SIGLIP("Siglip2VisionModel", embed=_packed, table=""),
    "siglip2_vision_model": _SIGLIP("Siglip2VisionModel", embed=_packed, table=""),
}  # fmt: skip
"""How each family of networks is read, by ``model_type`` of its config.json."""


class HuggingFaceBackbone:
    """See the module's text and :class:`regiontree.backbones.base.Backbone`.

    Parameters
    ----------
    folder
        With config.json and the weights, as ``save_pretrained`` or a download leaves it:
        safetensors, else .bin, in one file or in shards. Or a file that
        :mod:`regiontree.backbones.checkpoints` reads.
    device, dtype, spec
        Where it runs, how precisely, and what a feature is.
    name, digest
        What trees say of it.

    Attributes
    ----------
    model : torch.nn.Module
        The network, from normalised pixels to features.

    Raises
    ------
    MissingExtraError
        transformers is not installed, or is too old.
    BackboneError
        No such folder or network, one that has no patches, weights that are damaged or do not fit.
    SettingsError
        The network has not what `spec` asks for.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        spec: FeatureSpec,
        *,
        name: str,
        digest: str,
    ) -> None:
        self.name = name
        self.digest = digest
        self.device = device
        self.dtype = dtype
        if find_spec("transformers") is None:
            raise MissingExtraError(f"backbone {name!r} needs transformers: {EXTRA}")
        if folder.is_file() and is_checkpoint(folder):
            config, weights = load_checkpoint(folder)
        else:
            config, weights = _read_json(folder / "config.json"), None
        kind = config.get("model_type")
        mean, deviation = IMAGENET
        model: _Encoder | _Stages
        if kind == "resnet":
            loaded = _load(folder, "ResNetModel", ("embedder", "encoder"), dtype, config, weights)
            model = _Stages(loaded, spec)
        elif family := FAMILIES.get(str(kind)):
            mean, deviation = family.pixels
            parts = ("embeddings", family.blocks, family.norm)
            loaded = _load(
                folder, family.model, parts, dtype, config, weights, **dict(family.options)
            )
            try:
                model = _Encoder(loaded, family, spec)
            except AttributeError as error:
                raise MissingExtraError(
                    f"the installed transformers builds a {family.model} otherwise than version "
                    f"5.23 ({error}): {EXTRA}"
                ) from None
        else:
            raise BackboneError(
                f"{folder}: config.json says model_type {kind!r}; take a network of one of the "
                f"kinds {', '.join(FAMILIES)}, resnet"
            )
        if weights is None:
            mean, deviation = _pixel_statistics(folder, mean, deviation)
        self.patch = model.patch
        self.dim = model.dim
        self.model: nn.Module = model.to(device).eval().requires_grad_(False)
        self._mean = torch.tensor(mean, device=device)[:, None, None]
        self._deviation = torch.tensor(deviation, device=device)[:, None, None]

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) in [0, 1] -> (B, h, w, dim) float32 on `device`."""
        check_size(pixels, self.patch)
        pixels = (pixels.to(self.device) - self._mean) / self._deviation
        features: Tensor = self.model(pixels.to(self.dtype))
        return features.float()


class _Encoder(nn.Module):
    """Pixels (B, 3, h * patch, w * patch), normalised -> patch features (B, h, w, dim)."""

    def __init__(self, model: Any, family: Family, spec: FeatureSpec) -> None:
        super().__init__()
        config = model.config
        blocks = model.get_submodule(family.blocks)
        self.embed = family.embed
        self.facet = spec.facet_of(attention=True)
        self.norm1, self.attention = family.norm1, family.attention
        self.wanted = spec.blocks(len(blocks))
        self.prefix = sum(getattr(config, n) if isinstance(n, str) else n for n in family.prefix)
        self.patch: int = config.patch_size
        self.embeddings = model.embeddings
        self.before = model.get_submodule(family.before) if family.before else nn.Identity()
        self.rotary = model.get_submodule(family.rotary) if family.rotary else None
        self.blocks = blocks[: max(self.wanted) + 1]
        self.norm = model.get_submodule(family.norm)
        if self.facet == "token":
            width = config.hidden_size
        else:
            width = self._projection(self.blocks[0]).out_features
        self.dim: int = width * len(self.wanted)
        if spec.positions == "published":
            if not family.table:
                raise SettingsError(
                    f"positions 'published' is a way to stretch a table of positions, and "
                    f"{family.model} has none that it fits; use positions 'upstream'"
                )
            if not family.as_published:
                self.embeddings.interpolate_pos_encoding = partial(self._published, family.table)

    def forward(self, pixels: Tensor) -> Tensor:
        batch, _, height, width = pixels.shape
        tokens = self.before(self.embed(self.embeddings, pixels))
        rotary = {} if self.rotary is None else {"position_embeddings": self.rotary(pixels)}
        kept: dict[int, Tensor] = {}
        for i, block in enumerate(self.blocks):
            if self.facet != "token" and i in self.wanted:
                kept[i] = self._projection(block)(block.get_submodule(self.norm1)(tokens))
                if i + 1 == len(self.blocks):
                    break
            tokens = block(tokens, None, **rotary)
            if self.facet == "token" and i in self.wanted:
                kept[i] = self.norm(tokens)
        features = join_layers([kept[i][:, self.prefix :] for i in self.wanted])
        return features.reshape(batch, height // self.patch, width // self.patch, self.dim)

    def _projection(self, block: nn.Module) -> Any:
        return block.get_submodule(f"{self.attention}.{self.facet[0]}_proj")

    def _published(self, table: str, _tokens: Tensor, height: int, width: int) -> Tensor:
        """In place of the embeddings' method: their table on the grid of an image."""
        owner, _, name = table.rpartition(".")
        positions = getattr(self.embeddings.get_submodule(owner), name)
        positions = positions.reshape(1, -1, positions.shape[-1])
        rows, columns = height // self.patch, width // self.patch
        return stretch_positions(positions, self.prefix, rows, columns, published=True)


class _Stages(nn.Module):
    """The same of a ResNet: a stage is a layer, its stride the patch."""

    def __init__(self, model: Any, spec: FeatureSpec) -> None:
        super().__init__()
        config = model.config
        if spec.facet_of(attention=False) != "token" or spec.positions != "upstream":
            raise SettingsError(
                f"a ResNet has neither queries, keys and values nor positions; got facet "
                f"{spec.facet!r} and positions {spec.positions!r}, use 'token' and 'upstream'"
            )
        stages = model.encoder.stages
        wanted = spec.blocks(len(stages))
        if len(wanted) > 1:
            raise SettingsError(
                f"each stage of a ResNet has a grid of its own, so layers must be one, got "
                f"{spec.layers}"
            )
        self.embedder = model.embedder
        self.stages = stages[: wanted[0] + 1]
        self.patch = 4 * 2 ** (wanted[0] + config.downsample_in_first_stage)
        self.dim: int = config.hidden_sizes[wanted[0]]

    def forward(self, pixels: Tensor) -> Tensor:
        grid: Tensor = self.embedder(pixels)
        for stage in self.stages:
            grid = stage(grid)
        return grid.permute(0, 2, 3, 1)


def _load(
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
        with _quiet(library):
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
    patch, side = getattr(config, "patch_size", 1), getattr(config, "image_size", 1)
    for right, what in (
        (config.num_channels == 3, f"images of {config.num_channels} channels, not RGB"),
        (isinstance(patch, int), f"patches of {patch} pixels, not squares of one size"),
        (isinstance(side, int) or len(set(side)) == 1, f"images of {side}, not squares"),
    ):
        if not right:
            raise BackboneError(f"{folder}: config.json says {what}; take another network")


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Without progress bars and reports, which are about heads and towers left out on purpose."""
    log = library.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackboneError(
            f"{path}: cannot be read ({error.strerror}); a backbone's folder holds config.json and "
            "the weights, model.safetensors"
        ) from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BackboneError(f"{path}: is damaged or not JSON; download it again")
    return found


def _pixel_statistics(
    folder: Path, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What preprocessor_config.json says about pixels, else what was given."""
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return mean, deviation
    said = _read_json(path)
    if not said.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    try:
        found = torch.tensor([said.get("image_mean", mean), said.get("image_std", deviation)])
        right = found.shape == (2, 3) and bool(found.isfinite().all() and (found[1] > 0).all())
    except (TypeError, ValueError, RuntimeError):
        right = False
    if not right:
        raise BackboneError(
            f"{path}: image_mean and image_std must be three numbers each, the latter above 0, got "
            f"{said.get('image_mean')} and {said.get('image_std')}"
        )
    return tuple(found[0].tolist()), tuple(found[1].tolist())
