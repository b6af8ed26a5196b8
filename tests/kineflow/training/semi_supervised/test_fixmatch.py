"""FixMatch's loss by its equations, on a network whose logits can be computed outside."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from kineflow.training.semi_supervised.fixmatch import FixMatch
from kineflow.training.semi_supervised.settings import FixMatchSettings

OFF = {"colour_jitter": 0.0, "cutout": 0.0, "zoom": 0.0}
LABELS = torch.tensor([-1, 2, 0, -1, -1])  # in whatever order


def batch() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {"rgb": torch.randint(256, (5, 3, 4, 8, 8), generator=random, dtype=torch.uint8), "label": LABELS}


@pytest.mark.parametrize("perturbations", [{}, OFF], ids=["fixmatch", "plain pseudo-labels"])
def test_labels_teach_labelled_clips_and_what_is_said_of_clips_as_they_are_teaches_perturbed_ones(
    tiny_network, rgb, perturbations
) -> None:
    settings = FixMatchSettings(threshold=0.34, weight=2.0, **perturbations)
    task = FixMatch(tiny_network(dropout=0.0), rgb, settings=settings).train()
    network = copy.deepcopy(task.network)
    torch.manual_seed(3)
    losses = task.loss(batch())
    clips, rows = batch()["rgb"].float(), [0, 3, 4]
    torch.manual_seed(3)
    seen = clips.clone()
    seen[rows] = task.perturb(clips[rows])
    with torch.no_grad():
        says = network((clips[rows] - 128) / 64) if not perturbations else None
        logits = network((seen - 128) / 64)
    q = (logits[rows] if says is None else says).softmax(1)
    sure = q.max(1).values >= 0.34
    expected = (F.cross_entropy(logits[rows], q.argmax(1), reduction="none") * sure).mean()
    assert losses["confident"].item() == pytest.approx(sure.float().mean().item())
    assert sure.sum() > 0
    torch.testing.assert_close(losses["pseudo_label"], expected)
    torch.testing.assert_close(losses["cross_entropy"], F.cross_entropy(logits[[1, 2]], LABELS[[1, 2]]))
    torch.testing.assert_close(losses["loss"].detach(), losses["cross_entropy"] + 2 * expected)
    assert torch.equal(task.network.norm.running_mean, network.norm.running_mean)  # of both views


def test_what_is_said_has_no_gradient(tiny_network, rgb) -> None:
    """With nothing perturbed, the gradient is that of the cross entropy with fixed labels."""
    task = FixMatch(tiny_network(dropout=0.0), rgb, settings=FixMatchSettings(threshold=0.0, **OFF)).train()
    task.loss(batch())["loss"].backward()
    found = task.network.classifier.weight.grad.clone()
    task.network.zero_grad()
    logits = task.network(task.inputs(batch()))
    fixed = logits.argmax(1)
    (F.cross_entropy(logits[[1, 2]], LABELS[[1, 2]]) + F.cross_entropy(logits[[0, 3, 4]], fixed[[0, 3, 4]])).backward()
    torch.testing.assert_close(found, task.network.classifier.weight.grad)
