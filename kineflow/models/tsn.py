"""TSN: a network for images looks at snippets from all over a video, and they agree on what they have seen.

Wang, Xiong, Wang, Qiao, Lin, Tang, Van Gool, "Temporal Segment Networks: Towards Good Practices for Deep Action
Recognition", ECCV 2016 (arXiv 1608.00859); PAMI 2018. Eq. 1, for a video's snippets T_1 … T_n::

    TSN(T_1 … T_n) = H(G(F(T_1; W), …, F(T_n; W)))

F is the backbone, shared by all snippets, with one score a class; G the consensus, over scores *before* the softmax H.
A loss on G's output therefore sends each snippet's scores the gradient ∂L/∂G · ∂G/∂F(T_k): all of them learn from one
label (eq. 3).

A snippet is L time steps of a modality, laid over each other as the backbone's input channels (§3.2): one RGB frame
(3 channels), five flow frames u₁ v₁ u₂ v₂ … (10), or five differences of successive RGB frames (15). The snippets
of all videos of a batch go through the backbone as one batch of images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from torch import Tensor, nn

from kineflow.models.consensus import Consensus, ConsensusName
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_backbone, register_model
from kineflow.storage.errors import KineflowError

_CLASSIFIER_STD = 0.001


@register_model
def tsn(
    *,
    num_classes: int,
    in_channels: int = 3,
    backbone: str = "bn_inception",
    snippet_frames: int = 1,
    segments: int = 3,
    consensus: str = "average",
    width: float = 1.0,
    dropout: float = 0.8,
    output_stride: int = 32,
) -> TSN:
    """TSN; for the keywords see :class:`TSN`."""
    return TSN(
        num_classes=num_classes,
        in_channels=in_channels,
        backbone=backbone,
        snippet_frames=snippet_frames,
        segments=segments,
        consensus=consensus,
        width=width,
        dropout=dropout,
        output_stride=output_stride,
    )


class TSN(VideoNetwork):
    """TSN.

    Args:
        num_classes: K; 0 leaves the classifier out.
        in_channels: C, of one time step: 3 for RGB and for differences, 2 for flow.
        backbone: See :func:`kineflow.models.registry.list_backbones`; the paper's is ``bn_inception``. Its ``stem``
            takes C·L channels.
        snippet_frames: L; 1 for RGB, 5 for flow and differences in the paper.
        segments: Snippets of a video that are seen in training; their number matters to a weighted consensus only.
        consensus: G: ``average`` (the paper's choice), ``max`` or ``weighted``; see :class:`Consensus`.
        width: Multiplies the channels of every layer of the backbone.
        dropout: Probability that a pooled feature is dropped; .8 for RGB, .7 for flow.
        output_stride: See :func:`kineflow.models.scale.late_strides`.

    Raises:
        KineflowError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        backbone: str,
        snippet_frames: int,
        segments: int,
        consensus: str,
        width: float,
        dropout: float,
        output_stride: int,
    ) -> None:
        super().__init__()
        if snippet_frames < 1 or segments < 1 or consensus not in get_args(ConsensusName):
            raise KineflowError(
                f"no TSN has {segments} snippets of {snippet_frames} frames and the consensus {consensus!r}",
                remedy=f"give counts of at least 1, and one of: {', '.join(get_args(ConsensusName))}",
            )
        self.snippet_frames = snippet_frames
        self.backbone = create_backbone(
            backbone,
            in_channels=in_channels * snippet_frames,
            width=width,
            dropout=dropout,
            output_stride=output_stride,
        )
        self.consensus = Consensus(consensus, segments)
        self.stem_name = f"backbone.{self.backbone.stem_name}"
        self.classifier_name = f"backbone.{self.backbone.classifier_name}"
        self.num_features = self.backbone.num_features
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B,C,n·L,H,W], n snippets one after the other → [B,F,n,h,w].

        Raises:
            KineflowError: The clip is no whole number of snippets long.
        """
        batch, channels, steps, height, width = x.shape
        snippets, rest = divmod(steps, self.snippet_frames)
        if rest or not snippets:
            raise KineflowError(
                f"{steps} time steps are no snippets of {self.snippet_frames}",
                remedy="give the clip a multiple of snippet_frames",
            )
        x = x.reshape(batch, channels, snippets, self.snippet_frames, height, width)  # [B,C,n,L,H,W]
        images = x.permute(0, 2, 3, 1, 4, 5).flatten(2, 3).flatten(0, 1)  # [B·n,L·C,H,W]
        maps = self.backbone.forward_features(images)  # [B·n,F,h,w]
        return maps.reshape(batch, snippets, *maps.shape[1:]).transpose(1, 2)  # [B,F,n,h,w]

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """[B,F,n,h,w] → consensus of the snippets' scores [B,K]; with ``pre_logits`` the mean of what gives them."""
        batch, _, snippets = features.shape[:3]
        maps = features.transpose(1, 2).flatten(0, 1)  # [B·n,F,h,w]
        per_snippet = self.backbone.forward_head(maps, pre_logits=pre_logits)  # [B·n,K], or [B·n,D]
        per_snippet = per_snippet.reshape(batch, snippets, -1)
        if pre_logits or not self.num_classes:
            return per_snippet.mean(dim=1)
        agreed: Tensor = self.consensus(per_snippet)
        return agreed

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`Network.reset_classifier`; drawn from N(0, .001²), biases 0."""
        self.num_classes = num_classes
        self.backbone.reset_classifier(num_classes)
        scores = self.get_submodule(self.classifier_name)
        if isinstance(scores, nn.Linear):
            nn.init.normal_(scores.weight, std=_CLASSIFIER_STD)
            nn.init.zeros_(scores.bias)

    def adapt_checkpoint(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take a checkpoint of the backbone; the consensus stays as it is."""
        if any(name.startswith("backbone.") for name in state):
            return dict(state)
        adapted = {f"backbone.{name}": tensor for name, tensor in self.backbone.adapt_checkpoint(state).items()}
        return adapted | {f"consensus.{name}": tensor for name, tensor in self.consensus.state_dict().items()}

    @property
    def head_hidden_size(self) -> int:
        """D, the length of what the classifier sees."""
        return self.backbone.head_hidden_size
