"""Tensors that have shapes and no values: a training step runs on them, and shows what it would hold and compute.

Token ids, masks and places decide what a step computes, and are small: integers stay real. Whatever is a float, and all
that is computed from one, is a shape. A number that is read from a shape is 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from .ledger import Ledger

_ATEN: Final[Any] = torch.ops.aten
_IS_ANY: Final = "is_any"
_PASSES: Final = ("forward", "backward", "sampling", "scoring")
_PLACE: Final = torch.device("cpu")


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    shapes = (gradient.shape, query.shape, key.shape, value.shape)
    return int(sdpa_backward_flop_count(*shapes))  # type: ignore[no-untyped-call]


# torch counts its matrix products and a GPU's attention; those of a CPU's are the same numbers.
_FLOPS: Final[Mapping[Any, Callable[..., int]]] = flop_registry | {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, floats are shapes.

    Attributes:
        ledger: What would lie in memory.
        flops: Floating-point operations of matrix products and attention so far; a product and a sum count as two.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Start with nothing computed."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = ledger
        self.flops = 0
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def fill(self, module: torch.nn.Module, kind: Callable[[torch.Tensor], str]) -> None:
        """Put shapes in place of a module's parameters and buffers, which lie on the meta device; ties are kept.

        Args:
            module: Changed in place.
            kind: What a parameter or buffer is for.
        """
        made: dict[int, torch.Tensor] = {}
        for part in module.modules():
            for store in (part._parameters, part._buffers):
                for name, tensor in store.items():
                    if tensor is not None:
                        if id(tensor) not in made:
                            made[id(tensor)] = self._filled(tensor, kind(tensor))
                        store[name] = made[id(tensor)]  # type: ignore[assignment]

    def _filled(self, tensor: torch.Tensor, kind: str) -> torch.Tensor:
        shape = self._shape_of(tensor, kind)
        return torch.nn.Parameter(shape, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else shape

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation of torch."""
        if func is torch.ops.prim.device.default:
            return _PLACE
        kwargs = kwargs or {}
        if FakeTensor in types:
            return self._on_shapes(func, args, kwargs)
        if kwargs.get("dtype", torch.float32).is_floating_point and not any(map(_has_tensor, args)):
            with self._fake:
                made = func(*args, **kwargs)
            if isinstance(made, torch.Tensor) and made.dtype.is_floating_point:
                return self._counted(made)
        return _each(func(*args, **kwargs), self._kept)

    def _on_shapes(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func is _ATEN._local_scalar_dense.default:
            return _read(args[0])
        if func in (_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default):
            args = (args[0], _places(args[1]), *args[2:])
        args = tuple(_each(value, self._as_shape) for value in args)
        kwargs = {name: _each(value, self._as_shape) for name, value in kwargs.items()}
        out = self._products_of_groups(*args) if func is _ATEN._grouped_mm.default else func(*args, **kwargs)
        if func._overloadpacket is _ATEN.any:
            vars(out)[_IS_ANY] = True
        if func._overloadpacket in _FLOPS:
            self.flops += _FLOPS[func._overloadpacket](*args, **kwargs, out_val=out)
        kind = self._cast_kind(args) if func is _ATEN._to_copy.default else None
        return _each(out, lambda value: self._counted(value, kind))

    def _products_of_groups(self, left: torch.Tensor, right: torch.Tensor, ends: torch.Tensor, *_: Any) -> torch.Tensor:
        """Products of experts' tokens with their weights, or of tokens with gradients, which only some types have."""
        self.flops += 2 * left.shape[0] * left.shape[1] * right.shape[-1]
        size = (len(ends),) if right.dim() == 2 else ()
        with self._fake:
            return torch.empty(*size, left.shape[0], right.shape[-1], dtype=left.dtype, device=_PLACE)

    def _cast_kind(self, args: Any) -> str | None:
        """Autocast keeps a copy of each weight in its own type, from its use to the end of the pass."""
        of = self.ledger.kind_of(args[0].untyped_storage())
        return "casts" if of in ("weights", "adapter") and self.ledger.phase.startswith(_PASSES) else None

    def _counted(self, value: Any, kind: str | None = None) -> Any:
        if isinstance(value, FakeTensor):
            self.ledger.hold(value.untyped_storage(), kind)
        return value

    def _kept(self, value: Any) -> Any:
        return self._shape_of(value) if isinstance(value, torch.Tensor) and value.dtype.is_floating_point else value

    def _as_shape(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor):
            return self._shape_of(value)
        return _PLACE if isinstance(value, torch.device) else value

    def _shape_of(self, tensor: torch.Tensor, kind: str | None = None) -> torch.Tensor:
        with self._fake:
            made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=_PLACE)
        self.ledger.hold(made.untyped_storage(), kind)
        return made


def _read(shape: torch.Tensor) -> bool | float | int:
    """Whatever is checked is fine: all of it is as it should be (finite), and not any as it should not."""
    if shape.dtype == torch.bool:
        return not hasattr(shape, _IS_ANY)
    return 0.0 if shape.dtype.is_floating_point else 0


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value, or each in a list or tuple of them, changed."""
    if isinstance(value, list | tuple):
        return type(value)(change(part) for part in value)
    return change(value)


def _has_tensor(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(part, torch.Tensor) for part in parts)


def _places(indices: Any) -> list[Any]:
    """Indices with real masks as the places where they are True: how many there are is not read from a shape."""
    found: list[Any] = []
    for index in indices:
        if isinstance(index, torch.Tensor) and index.dtype == torch.bool and not isinstance(index, FakeTensor):
            found += index.nonzero(as_tuple=True)
        else:
            found.append(index)
    return found
