"""Weights by name, whatever they lay in: a key of a checkpoint, names with the prefix of a wrapper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

KEYS = ("model", "state_dict", "model_state_dict", "model_ema", "module", "teacher")
"""Under which published codes keep the weights in a checkpoint; the first that is there is taken."""
WRAPPERS = ("module.", "_orig_mod.", "model.")
"""Put before every name by DistributedDataParallel, by torch.compile, and by modules that hold a model."""
READ = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def tensors_by_name(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, under one of `KEYS` or not, without the prefixes of wrappers."""
    named = next((content[key] for key in KEYS if isinstance(content.get(key), Mapping)), content)
    return without_wrappers({str(name): each for name, each in named.items() if isinstance(each, Tensor)})


def without_wrappers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Takes prefixes of `WRAPPERS` off, also several, as long as all names have them."""
    unwrapped = dict(weights)
    while unwrapped and (prefix := _prefix_of_all(unwrapped)):
        unwrapped = {name.removeprefix(prefix): tensor for name, tensor in unwrapped.items()}
    return unwrapped


def _prefix_of_all(weights: Mapping[str, Tensor]) -> str | None:
    return next((each for each in WRAPPERS if all(name.startswith(each) for name in weights)), None)


def refuse_peculiar(weights: Mapping[str, Tensor], where: str) -> None:
    """Raises ValueError, naming `where` and the tensor, for one that is not of plain numbers in one of `READ`."""
    for name, tensor in weights.items():
        if found := _peculiarity(tensor):
            expected = ", ".join(str(each).removeprefix("torch.") for each in READ)
            raise ValueError(f"{where}: {name}: expected numbers in {expected}, got {found}")


def refuse_unusable(weights: Mapping[str, Tensor], where: str) -> None:
    """As `refuse_peculiar`, and for numbers that are not finite."""
    refuse_peculiar(weights, where)
    for name, tensor in weights.items():
        if not tensor.detach().float().isfinite().all():  # in float32, in which everything is computed
            raise ValueError(f"{where}: {name}: expected finite numbers, got NaN or infinity")


def _peculiarity(tensor: Tensor) -> str | None:
    if tensor.is_meta:
        return "a tensor without values (of the device meta)"
    if tensor.layout != torch.strided or tensor.is_nested:
        return "a sparse or nested tensor"
    if tensor.dtype not in READ:
        return str(tensor.dtype).removeprefix("torch.")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"{tuple(tensor.shape)} repeated from fewer values"
    return None


Shapes = Mapping[str, torch.Size]
Architecture = TypeVar("Architecture")


def shapes_of(build: Callable[[], nn.Module]) -> Shapes:
    """By name, of the weights of the model that `build` makes: without memory for them."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build().state_dict().items()}


@lru_cache(maxsize=16)
def shapes_of_architecture(model: Callable[[Architecture], nn.Module], architecture: Architecture) -> Shapes:
    """Those of `model(architecture)`, which is made once: on the device meta that takes longer than in memory."""
    return shapes_of(lambda: model(architecture))


def refuse_misfits(expected: Shapes, weights: Mapping[str, Tensor], where: str) -> None:
    """Raises ValueError, naming `where` and the tensors, unless `weights` have these names and shapes and are finite
    numbers."""
    wrong = [f"{name} is missing" for name in expected if name not in weights]
    wrong += [f"{name} is unknown" for name in weights if name not in expected]
    wrong += [
        f"{name}: expected shape {tuple(shape)}, got {tuple(weights[name].shape)}"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise ValueError(f"{where}: not the weights of its architecture: {'; '.join(wrong[:3])}{more}")
    refuse_unusable(weights, where)
