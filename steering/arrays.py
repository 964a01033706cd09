"""What the gate computes with: NumPy's arrays on the host, torch's tensors on a device.

The arithmetic is written once, in the functions that both libraries have. On the host torch would
do as well, but a small operation of NumPy's takes a fraction of torch's time.
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

Array = TypeVar("Array", torch.Tensor, npt.NDArray[Any])
"""One of the two, the same throughout a call."""

LARGEST = float(np.finfo(np.float32).max)
"""Of the finite numbers."""


def on_host(device: torch.device) -> bool:
    """Whether logits on `device` are computed with as NumPy's arrays."""
    return device.type == "cpu"


def library(array: Array) -> Any:
    """The functions for this kind of array: the module `torch` or `numpy`."""
    return torch if isinstance(array, torch.Tensor) else np


def logsumexp(values: Array) -> Array:
    """The logarithm of the sum of exponentials along the last axis.

    values: [..., n] float32, overwritten; torch's may be of half precision. Returns [...] float32:
    NaN where one of the n is NaN, -inf where all of them are -inf. Of such ones NumPy warns, if it
    is let to.
    """
    if isinstance(values, torch.Tensor):
        return values.float().logsumexp(dim=-1)
    # Finite, so that infinities are themselves again when it is added.
    shift = np.minimum(values.max(axis=-1, keepdims=True, initial=-LARGEST), LARGEST)
    values -= shift
    np.exp(values, out=values)
    found: Array = np.log(values.sum(axis=-1)) + shift[..., 0]
    return found


def add_to_columns(array: Array, columns: Array, values: Array) -> None:
    """Add `values` [n, m] to `columns` ([m] int64, the same one perhaps twice) of [n, V]."""
    if isinstance(array, torch.Tensor):
        array.index_add_(1, columns, values)
    else:
        np.add.at(array.T, columns, values.T)


def fill_columns(array: Array, columns: slice | Array, value: float) -> None:
    """Set `columns` ([m] int64, or side by side) of an array [n, V] to one value."""
    if isinstance(array, torch.Tensor) and isinstance(columns, torch.Tensor):
        array.index_fill_(1, columns, value)
    else:
        array[:, columns] = value
