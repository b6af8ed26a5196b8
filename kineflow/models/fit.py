"""Whether a network can take over a checkpoint's tensors, by names and shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kineflow.models.adapted import Adapted, adapt
from kineflow.models.network import COUNTER, require_same_tensors, shapes

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network


@dataclass(frozen=True)
class Fit:
    """What a network takes over.

    Attributes:
        tensors: The network's weights; those of its classifier are its own unless the checkpoint's fits.
        adapted: All that the checkpoint has for it.
        given_head: The classifier's among them.
        same_head: Whether that fits.
    """

    tensors: dict[str, Tensor]
    adapted: Adapted
    given_head: Mapping[str, Tensor]
    same_head: bool


def fit_of(network: Network, state: Mapping[str, Tensor], *, where: str) -> Fit:
    """What ``network`` takes over of ``state``; neither is changed, and both may be on the meta device.

    Raises:
        KineflowError: A tensor other than the classifier's is missing, unknown or of another shape.
    """
    own, adapted = network.state_dict(), adapt(network, state)
    given = adapted.tensors
    for name, tensor in own.items():
        if name.endswith(COUNTER):
            given.setdefault(name, tensor)
    head = f"{network.classifier_name}."
    own_head, given_head = (
        {name: tensor for name, tensor in table.items() if name.startswith(head)} for table in (own, given)
    )
    same_head = bool(own_head) and shapes(own_head) == shapes(given_head)
    if not same_head:
        given = {name: tensor for name, tensor in given.items() if not name.startswith(head)} | own_head
    require_same_tensors(
        shapes(own),
        shapes(given),
        where=where,
        remedy="give the checkpoint of this architecture, with the same width and input channels",
    )
    return Fit(given, adapted, given_head, same_head)
