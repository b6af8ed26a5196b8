"""Rows of a batch that have no label."""

from __future__ import annotations

from torch import Tensor

from kineflow.training.tasks import Batch


def unlabelled_rows(batch: Batch) -> Tensor:
    """Their numbers in order, int64 [U]; no GPU is waited for where ``labelled`` is known."""
    labels = batch["label"]
    labelled = len(batch["labelled"]) if "labelled" in batch else int((labels >= 0).sum())
    return (labels >= 0).int().argsort(stable=True)[: len(labels) - labelled]
