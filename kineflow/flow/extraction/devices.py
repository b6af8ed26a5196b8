"""From what a user writes to devices that are there."""

from __future__ import annotations

import torch

from kineflow.storage.errors import KineflowError


def find_devices(named: str) -> tuple[str, ...]:
    """The devices that ``named`` asks for.

    Args:
        named: ``cpu``; ``cuda`` or ``cuda:1``; several GPUs as ``cuda:0,cuda:1``; ``auto`` for every GPU that is
            visible, or the CPU where there is none.

    Raises:
        KineflowError: One of them is not there, or is named twice.
    """
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if named == "auto":
        return tuple(gpus) or ("cpu",)
    wanted = ["cuda:0" if name == "cuda" else name for name in named.split(",")]
    if absent := [name for name in wanted if name not in ("cpu", *gpus)]:
        there = ", ".join(["cpu", *gpus])
        raise KineflowError(
            f"there is no device {absent[0]!r}, only {there}",
            where="flow.device",
            remedy="name one of these, or 'auto'",
        )
    if len(set(wanted)) < len(wanted):
        raise KineflowError(f"{named!r} names a device twice", where="flow.device", remedy="name each device once")
    return tuple(wanted)
