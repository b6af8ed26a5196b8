"""How ST-ResNet is fed and trained (Feichtenhofer, Pinz, Wildes, NIPS 2016): its input, its loss, its three steps.

A clip is T time steps of the modality ``rgb_flow``: each is a frame and the L = 10 flow fields around it.

The authors' files count epochs of ``epoch_factor`` looks at each video, so that their numbers of epochs look small: a
look is one clip (or frame, or stack of flow), drawn at random. :attr:`Phase.looks` is what compares with other papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kineflow.storage.errors import KineflowError
from kineflow.training.attention_losses import step_cross_entropy
from kineflow.training.tasks import Batch, Classification, Terms

if TYPE_CHECKING:
    from torch import Tensor

    from kineflow.models.st_resnet import StreamScores, STResNet
    from kineflow.spec.preprocessing import Preprocessing


class TwoStream(Classification):
    """Both streams of an ST-ResNet have to name the class at every step, and their losses are added, one to one.

    What is validated and tested is the mean of all answers.

    Raises:
        KineflowError: Label smoothing was asked for, which this loss does not have.
    """

    def __init__(self, network: STResNet, preprocessing: Preprocessing, **settings: Any) -> None:
        super().__init__(network, preprocessing, **settings)
        if self.label_smoothing:
            raise KineflowError("ST-ResNet is trained without label_smoothing", remedy="set label_smoothing to 0")

    def loss(self, batch: Batch) -> Terms:
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


@dataclass(frozen=True)
class Phase:
    """One step of training, by SGD, as the authors' files have it for UCF101.

    Attributes:
        learning_rates: One an epoch. Biases of the convolutions and classifiers have twice the rate and no decay.
        epoch_factor: Looks at each video in an epoch.
        batch_size: Of clips, between two updates.
        sub_batches: Parts that a batch is computed in; normalisation sees one part at a time.
        frames: T, time steps of a clip.
        strides_frames: Least and greatest τ, drawn for each batch: frames of video from one time step to the next.
        dropout: Before the classifier.
        momentum, weight_decay: Of SGD.
    """

    learning_rates: tuple[float, ...]
    epoch_factor: int
    batch_size: int
    sub_batches: int
    frames: int = 1
    strides_frames: tuple[int, int] = (1, 1)
    dropout: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 5e-4

    @property
    def looks(self) -> int:
        """At each video, from the first update to the last."""
        return len(self.learning_rates) * self.epoch_factor

    @property
    def clips_per_norm(self) -> int:
        """Clips that normalisation takes its statistics from."""
        return self.batch_size // self.sub_batches


# Step 1: two ResNet-50 from ImageNet, motion by the cross-modality rule. Classifiers are drawn from N(0, .01²).
# Appearance sees crops of 224 at 25 places, more of them at the borders; motion sees crops at five places, of sides
# drawn independently from 256, 224, 192 and 168.
APPEARANCE = Phase((1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4), epoch_factor=10, batch_size=256, sub_batches=8)
APPEARANCE_HMDB51 = Phase((1e-2, 1e-2, 1e-3, 1e-4), epoch_factor=10, batch_size=256, sub_batches=8)
MOTION = Phase((1e-2, 1e-3, 1e-4, 1e-5), epoch_factor=100, batch_size=128, sub_batches=4, dropout=0.8)

# Step 2: ST-ResNet. The authors list three epochs of 1e-6 as well, and stop after eight in all. Crops have sides of .75
# to 1.25 times 224, independently, mostly in the corners; they are mirrored half the time.
ST_RESNET = Phase(
    (1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-5, 1e-5),
    epoch_factor=10,
    batch_size=128,
    sub_batches=32,
    frames=5,
    strides_frames=(5, 15),
)

# Step 3: ST-ResNet*, two looks.
ST_RESNET_STAR = Phase((1e-4, 1e-5), epoch_factor=1, batch_size=128, sub_batches=32, frames=11, strides_frames=(1, 15))

# Test: 25 time steps as far apart as in training, less in shorter videos, whole frames of 256 px on the shorter side,
# and the same mirrored; the mean of all answers.
TEST_FRAMES, TEST_STRIDE_FRAMES, TEST_SHORT_SIDE_PX = 25, 15, 256
