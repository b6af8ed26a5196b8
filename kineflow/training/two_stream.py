"""How ST-ResNet is trained (Feichtenhofer, Pinz, Wildes, NIPS 2016): its loss.

A clip is T time steps of the modality ``rgb_flow``: each is a frame and the L = 10 flow frames around it. The authors'
schedules, crops and test are those of ``params/st_resnet_ucf101.yaml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kineflow.storage.errors import KineflowError
from kineflow.training.attention_losses import step_cross_entropy
from kineflow.training.losses.registry import CROSS_ENTROPY
from kineflow.training.tasks import Batch, Classification, Losses

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.st_resnet import StreamScores, STResNet
    from kineflow.spec.preprocessing import Preprocessing


class TwoStream(Classification):
    """Both streams of an ST-ResNet have to name the class at every step, and their losses are added, one to one.

    What is validated and tested is the mean of all logits.

    Raises:
        KineflowError: Label smoothing or another loss was asked for.
    """

    can_mix = False

    def __init__(self, network: STResNet, preprocessing: Preprocessing, **settings: Any) -> None:
        super().__init__(network, preprocessing, **settings)
        if self.label_term != CROSS_ENTROPY:
            raise KineflowError("ST-ResNet is trained by a loss of its own", remedy="leave loss out")
        if self.label_smoothing:
            raise KineflowError("ST-ResNet is trained without label_smoothing", remedy="set label_smoothing to 0")

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss``, and each stream's part of it."""
        network: Any = self.network
        appearance, motion = stream_losses(network.forward_streams(self.inputs(batch)), batch["label"])
        return {"loss": appearance + motion, "appearance": appearance.detach(), "motion": motion.detach()}


def stream_losses(scores: StreamScores, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Σ over steps of -log ŷ_y, mean over the labelled clips, of appearance and of motion.

    The sum over the steps makes a clip of T steps weigh T times as much as an image; learning rates go with it.

    Args:
        scores: Logits [B,T,K] of each stream.
        labels: int64 [B], -1 for a clip without a label, which adds nothing.

    Returns:
        Two scalars; 0 without labelled clips.
    """
    return step_cross_entropy(scores.appearance, labels), step_cross_entropy(scores.motion, labels)
