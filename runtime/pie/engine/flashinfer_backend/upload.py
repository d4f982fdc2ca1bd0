"""Brings arrays to the device without waiting for it: from memory that it can read by itself.

A copy from other memory may wait until all work before it is done, and then nothing could be planned meanwhile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["on_host", "upload"]


def upload(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """The values on the device; on a processor they are not copied."""
    return on_host(values, device).to(device, non_blocking=True)


def on_host(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """The values on the host, where the device can fetch them; it is kept until it has."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory() if device.type == "cuda" else tensor
