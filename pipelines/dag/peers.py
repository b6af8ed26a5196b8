"""Networks that learn from unlabelled clips by themselves, beside those of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.frontend.kfp_components import train_fixmatch, train_mean_teacher


def train_peers(
    fixmatch: Any, mean_teacher: Any, *, clips: Any, initial: Any, params: Any, seed: Any, after: Any
) -> Mapping[str, Any]:
    """The models ``fixmatch`` and ``mean_teacher``, by name, of those sections that are not None.

    Args:
        fixmatch, mean_teacher: Optional sections of a recipe.
        clips, initial, params, seed: Of the training that they stand beside: the same weights, the same steps.
        after: Task that must have succeeded.
    """
    given = {"clips": clips, "initial": initial, "params": params, "seed": seed}
    tasks = {}
    if fixmatch is not None:
        tasks["fixmatch"] = train_fixmatch(fixmatch=fixmatch, name="fixmatch", **given)
    if mean_teacher is not None:
        tasks["mean_teacher"] = train_mean_teacher(mean_teacher=mean_teacher, name="mean_teacher", **given)
    return {name: task.set_display_name(name).after(after).outputs["model"] for name, task in tasks.items()}
