"""Timing several forms of one piece of work, in turns within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Form = Callable[[Any, Tensor], Tensor]


def medians(forms: Mapping[str, Form], network: Any, x: Tensor, *, learn: bool, repeats: int) -> dict[str, float]:
    """Median seconds of each form ``form(network, x)``, with gradients if ``learn``; CPU time, or time on x's GPU."""
    taken: dict[str, list[float]] = {name: [] for name in forms}
    network.train(learn)
    for repeat in range(repeats + 1):
        for name, form in forms.items():
            seconds = _seconds(lambda form=form: _work(form, network, x, learn), x.device)
            if repeat:  # the first is for warming up
                taken[name].append(seconds)
    return {name: statistics.median(times) for name, times in taken.items()}


def _work(form: Form, network: Any, x: Tensor, learn: bool) -> None:
    with torch.set_grad_enabled(learn):
        result = form(network, x)
        if learn:
            network.zero_grad()
            result.sum().backward()


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    if device.type == "cpu":
        begun = time.process_time()
        work()
        return time.process_time() - begun
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000
