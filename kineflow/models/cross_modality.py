"""The cross-modality rule: a flow network that starts from an RGB one.

Wang et al., "Temporal Segment Networks" (ECCV 2016), §3.3: the kernel of the first convolution is averaged over its
input channels and the mean is repeated for every channel of the new input; everything else is copied. Nothing is
rescaled, so an input whose N channels all hold v gets N/3 of the response that a grey v gets from the RGB network,
which the first normalisation evens out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kineflow.models.network import require_same_tensors, shapes

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.network import Network


def across_modality(state: Mapping[str, Tensor], *, stem_name: str, in_channels: int) -> dict[str, Tensor]:
    """Weights for ``in_channels`` inputs, from ``state`` of the same network for others.

    Args:
        state: Of the source; its stem's weight is [out, in, …].
        stem_name: Of the first convolution.
        in_channels: N, of the network to be.
    """
    key = f"{stem_name}.weight"
    kernel = state[key]
    mean = kernel.mean(dim=1, keepdim=True)  # [out, 1, …]
    repeated = mean.repeat_interleave(in_channels, dim=1)  # [out, N, …]
    return {name: repeated if name == key else tensor.clone() for name, tensor in state.items()}


def initialise_across_modality(target: Network, source: Network) -> None:
    """Fill ``target`` with the weights of ``source``, its twin for other input channels.

    Raises:
        KineflowError: The two differ in more than their stem's input channels.
    """
    state = across_modality(source.state_dict(), stem_name=source.stem_name, in_channels=target.stem.in_channels)
    require_same_tensors(
        shapes(target.state_dict()),
        shapes(state),
        where="cross-modality initialisation",
        remedy="build both networks by the same name with the same hyper-parameters and classes",
    )
    target.load_state_dict(state)
