"""Networks of the library transformers for clips: VideoMAE, V-JEPA 2, TimeSformer and ViViT, in its own modules.

The library is an optional package, and is imported when such a network is built. Weights are kept by its names.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kineflow.models.network import VideoNetwork
from kineflow.models.registry import register_model
from kineflow.models.transformers_config import VideoConfig, config_of_text
from kineflow.models.transformers_library import build_network


class TransformersNetwork(VideoNetwork):
    """A network for video classification of the library, for clips of the length and size of its configuration.

    The feature map of VideoMAE and V-JEPA 2 is that of their tokens, [B,F,T',S',S']. TimeSformer and ViViT classify by
    a token of their own (as VideoMAE does by its first one, without mean pooling): their map is that one, [B,F,1,1,1].

    Args:
        config: Of the network.
        num_classes: K; 0 builds it without a classifier.
        in_channels: C.

    Raises:
        KineflowError: The library is not installed, or does not know this configuration.
    """

    classifier_name = "model.classifier"

    def __init__(self, config: VideoConfig, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.config, family = config, config.family
        self.model: Any = build_network(config, in_channels=in_channels, num_classes=max(1, num_classes))
        self.base: str = f"model.{family.base}"
        self.stem_name = f"{self.base}.{family.stem}"
        self.num_features, self.num_classes = config.hidden_size, num_classes
        if not num_classes:
            self.model.classifier = nn.Identity()

    def require_clip(self, *, frames: int, size: int) -> None:
        """See :meth:`VideoNetwork.require_clip`."""
        self.config.require_clip(frames=frames, size=size)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`VideoNetwork.forward_features`."""
        self.require_clip(frames=x.shape[2], size=x.shape[3])
        network, frames_first = self.get_submodule(self.base), x.transpose(1, 2)
        run: Any = network.encoder if self.config.family.base == "vjepa2" else network
        tokens: Tensor = run(frames_first).last_hidden_state  # [B,N,F]
        if not self._pools:
            return tokens[:, 0, :, None, None, None]
        return tokens.transpose(1, 2).reshape(-1, self.num_features, *self.config.grid)

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """See :meth:`VideoNetwork.forward_head`."""
        tokens = features.flatten(2).transpose(1, 2)
        if not self._pools:
            pooled = tokens[:, 0]
        elif self.config.family.base == "vjepa2":
            pooled = self.model.pooler(tokens)
        else:
            pooled = self.model.fc_norm(tokens.mean(1))
        logits: Tensor = pooled if pre_logits else self.model.classifier(pooled)
        return logits

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`VideoNetwork.reset_classifier`."""
        self.num_classes = num_classes
        scores: nn.Module = nn.Identity()
        if num_classes:
            beside = self.stem.weight
            scores = nn.Linear(self.num_features, num_classes, device=beside.device, dtype=beside.dtype)
            nn.init.normal_(scores.weight, std=self.config.initializer_range)
            nn.init.zeros_(scores.bias)
        self.model.classifier = scores

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """The embeddings and each block; the last norm goes with the last block, and pooling is always learnt."""
        family = self.config.family
        blocks: list[tuple[str, ...]] = [
            (f"{self.base}.{family.blocks}.{number}",) for number in range(self.config.num_hidden_layers)
        ]
        norm = f"{self.base}.{family.norm}"
        if norm in dict(self.named_modules()):  # VideoMAE has it behind the mean of its tokens
            blocks[-1] = (*blocks[-1], norm)
        return ((f"{self.base}.{family.embeddings}",), *blocks)

    @property
    def _pools(self) -> bool:
        """Whether the classifier sees all tokens, and not one of them."""
        return self.config.family.base == "vjepa2" or getattr(self.model, "fc_norm", None) is not None


@register_model
def transformers(
    *, num_classes: int, in_channels: int = 3, config: str = "", frames: int = 0, size: int = 0
) -> TransformersNetwork:
    """A network of transformers; ``pretrain`` takes its configuration from a checkpoint.

    Args:
        num_classes: K; 0 builds it without a classifier.
        in_channels: C.
        config: ``config.json`` of the library as :class:`VideoConfig` has it.
        frames, size: Of the clips, where they are others than the checkpoint's; 0: its own.
    """
    shape = config_of_text(config).resized(frames=frames, size=size)
    return TransformersNetwork(shape, num_classes=num_classes, in_channels=in_channels)
