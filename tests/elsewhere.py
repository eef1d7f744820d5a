"""A device that is not there: tensors that say they are on one, and keep to what one would allow.

An :class:`Elsewhere` says ``device='cuda:0'`` and holds its values in the memory of this machine.
In :class:`Device` every operation of torch is watched: one that mixes tensors of here and there
fails as on a real device, and so does a silent look-up by an index of here, which a real one would
copy; what comes back to this machine's memory is written down. So code can be seen to stay on the
device that it is given where there is none. It says nothing of a real device's numbers or speed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map, tree_map_only

__all__ = ["THERE", "Device", "Elsewhere", "here", "moved", "there"]

THERE = torch.device("cuda", 0)


class Elsewhere(Tensor):
    """A tensor whose values are `values`, and whose device is :data:`THERE`."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> Elsewhere:
        # To torch's own code it is on no device at all, since that for the real one is missing.
        made = Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, device=torch.device("meta"),
        )  # fmt: skip
        made.values = values
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return THERE

    # Two that torch does without asking modes, or not at all.

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:
        return there(self.values.new_tensor(data, **kwargs))

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.values!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} outside of Device")


def there(values: Tensor) -> Elsewhere:
    return Elsewhere(values)


def here(tensor: Tensor) -> Tensor:
    return tensor.values if isinstance(tensor, Elsewhere) else tensor


class Device(TorchDispatchMode):
    """Within it tensors can be there.

    Attributes
    ----------
    fetched : list of (str, int)
        Operations that brought values to this machine, and how many.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[tuple[str, int]] = []

    def __enter__(self) -> Device:
        self._real = torch.cuda._lazy_init, torch.tensor
        torch.cuda._lazy_init = lambda: None  # there is nothing to start
        torch.tensor = self._tensor  # the one that does not ask modes
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        torch.cuda._lazy_init, torch.tensor = self._real
        super().__exit__(*error)

    def _tensor(self, data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
        made = self._real[1](data, **kwargs)
        return there(made) if torch.device(device or "cpu").type == THERE.type else made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        far, near, asked = [], [], []

        def look(value: Any) -> Any:
            if isinstance(value, Tensor):
                (far if isinstance(value, Elsewhere) else near).append(value)
                return here(value)
            if isinstance(value, torch.device):
                asked.append(value)
                return torch.device("cpu")
            return value

        first = args[0] if args else None
        args, kwargs = tree_map(look, args), tree_map(look, kwargs)
        if name == "copy_":
            stays = isinstance(first, Elsewhere)
        else:
            stays = asked[0].type == THERE.type if asked else bool(far)
            strange = [tuple(tensor.shape) for tensor in near if tensor.ndim]
            if far and strange:
                raise RuntimeError(f"{func}: tensors of two devices; here are {strange}")
        result = func(*args, **kwargs)
        if far and not (stays and isinstance(result, Tensor | tuple | list)):
            self.fetched.append((name, far[0].numel()))
        if stays and isinstance(first, Elsewhere) and result is here(first):  # in place
            return first
        return tree_map_only(Tensor, there, result) if stays else result


@torch.no_grad()  # in which networks run
def moved(backbone: Any) -> Any:
    """A backbone of the package with its weights there."""
    backbone.device = THERE
    for name, value in vars(backbone).items():
        if isinstance(value, Tensor):
            setattr(backbone, name, there(value))
    for module in backbone.model.modules():
        for kept in (module._parameters, module._buffers):
            kept |= {name: there(value.data) for name, value in kept.items() if value is not None}
    return backbone
