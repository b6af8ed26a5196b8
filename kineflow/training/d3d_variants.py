"""What D3D's authors compared it with (Stroud et al., WACV 2020), as tasks.

What differs in the distillation alone is in the parameter files (``params/d3d_variants_ucf101.yaml``). Decoding flow as
a second task is :class:`AuxiliaryDecoding`; a flow stream with a learnt flow is a network
(:mod:`kineflow.models.learnt_flow`), trained by plain :class:`Classification` on RGB. D3D + S3D-G is no variant of
training: :func:`kineflow.evaluation.fusion.fuse` averages their scores.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kineflow.models.flow_decoder import create_decoder
from kineflow.models.network import VideoNetwork
from kineflow.models.stage_names import DecoderName
from kineflow.models.stages import channels_of_stage, features_at, features_from
from kineflow.spec.preprocessing import Preprocessing
from kineflow.training.motion_probe import end_point_errors, flow_target
from kineflow.training.tasks import Batch, Classification, Losses


class AuxiliaryDecoding(Classification):
    """Flow decoding as a second task: L = CE + weight · EPE, with gradients of both into the network.

    The paper's ablation, without a teacher: did not help there. The cross entropy is over labelled clips and the
    end-point error (px) over all. ``network`` is student and decoder together, so that both learn and are kept;
    ``network.student`` is what is used afterwards.

    Args:
        network: The student, S3D or S3D-G.
        preprocessing: Of its clips.
        stage: Whose features are decoded.
        decoder: Which decoder, made anew.
        bound_px: Of the flow set.
        weight: Of the end-point error. The paper's is not known.
        options: Of the loss of the labels, see :class:`Classification`.

    Raises:
        KineflowError: The network has no such stage, or no decoder has this name.
    """

    can_mix = False

    def __init__(
        self,
        network: VideoNetwork,
        preprocessing: Preprocessing,
        *,
        stage: str,
        decoder: DecoderName,
        bound_px: float,
        weight: float = 1.0,
        **options: Any,
    ) -> None:
        decoder_at_stage = create_decoder(decoder, channels_of_stage(network, stage))
        super().__init__(StudentWithDecoder(network, decoder_at_stage, stage=stage), preprocessing, **options)
        self.bound_px, self.weight = bound_px, weight

    def loss(self, batch: Batch) -> Losses:
        """Scalar ``loss``, and both terms before weighting."""
        assert isinstance(self.network, StudentWithDecoder)
        logits, decoded = self.network.both(self.inputs(batch))
        decoded = decoded.float()
        target = flow_target(batch["flow"], decoded.shape[2:], bound_px=self.bound_px)
        label_loss = self.label_loss(logits, batch)
        error = end_point_errors(decoded, target).mean()
        return {
            "loss": label_loss + self.weight * error,
            self.label_term: label_loss.detach(),
            "end_point_error": error.detach(),
        }


class StudentWithDecoder(VideoNetwork):
    """A network for clips with a flow decoder at one of its stages; classifies as the network alone does.

    Args:
        student: S3D or S3D-G.
        decoder: From its features at ``stage`` to flow.
        stage: Where the decoder stands.
    """

    def __init__(self, student: VideoNetwork, decoder: nn.Module, *, stage: str) -> None:
        super().__init__()
        self.student, self.decoder, self.stage = student, decoder, stage
        self.num_features, self.num_classes = student.num_features, student.num_classes
        self.stem_name = f"student.{student.stem_name}"
        self.classifier_name = f"student.{student.classifier_name}"

    def both(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B,K] and flow [B,2,T',H',W'] of clips [B,C,T,H,W], in one pass."""
        features = features_at(self.student, clips, self.stage)
        logits = self.student.forward_head(features_from(self.student, features, self.stage))
        flow: Tensor = self.decoder(features)
        return logits, flow

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`VideoNetwork.forward_features`."""
        return self.student.forward_features(x)

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """See :meth:`VideoNetwork.forward_head`."""
        return self.student.forward_head(features, pre_logits=pre_logits)

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`VideoNetwork.reset_classifier`."""
        self.student.reset_classifier(num_classes)
        self.num_classes = num_classes
