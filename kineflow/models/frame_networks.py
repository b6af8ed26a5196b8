"""Frame networks: frozen networks for images look at every frame, a recurrent network at what they saw.

ALSTM, VideoLSTM and the networks they are compared with are all of this form. A clip [B,C,T,H,W] is B·T images; an
image network gives each a map [F,h,w] or a vector [D] (its tap), and the :class:`SequenceNetwork` runs over the steps.
Image networks are not trained here, so that a training may compute their features once::

    features = network.frame_features(clips)     # of every frame by itself: kept, and cut into clips later
    scores = network.sequence(*features)         # = network(clips)

A network of two inputs has two of them: ``appearance`` sees the first three channels of a clip, the frame, and
``motion`` the others, the flow.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from kineflow.models.network import ImageNetwork, VideoNetwork, require_same_tensors, shapes
from kineflow.models.recurrent import SequenceNetwork
from kineflow.models.registry import create_backbone, import_networks, register_model
from kineflow.spec.modality import RGB_CHANNELS
from kineflow.spec.tap import Tap
from kineflow.storage.errors import KineflowError

Build = TypeVar("Build", bound="Callable[..., FrameNetwork]")

_SEQUENCES: dict[str, type[SequenceNetwork]] = {}


class FrameNetwork(VideoNetwork):
    """A sequence network and the image networks that give it its features.

    The image networks are taken over: their weights are frozen, they stay in evaluation mode whatever ``train`` says,
    and their classifiers are taken away, as is all else of their heads where the map is what is read (of VGG-16 its
    fully connected layers).

    Args:
        sequence: Reads as many inputs as there are image networks.
        appearance: Sees frames; of networks with one input it is the only one, and sees what they are given.
        motion: Sees flow, in networks with two inputs.

    Attributes:
        sequence, appearance, motion: As above; ``motion`` is None in networks with one input.
    """

    classifier_name = "sequence.head.classifier"
    sequence: SequenceNetwork
    appearance: ImageNetwork
    motion: ImageNetwork | None

    def __init__(
        self, sequence: SequenceNetwork, *, appearance: ImageNetwork, motion: ImageNetwork | None = None
    ) -> None:
        super().__init__()
        self.appearance, self.motion, self.sequence = appearance, motion, sequence
        self.stem_name = f"appearance.{appearance.stem_name}"
        self.num_features, self.num_classes = sequence.num_features, sequence.num_classes
        for stream, tap in zip(self.streams.values(), sequence.taps, strict=True):
            stream.reset_classifier(0)
            if tap == "map" and (head := head_of(stream)) != stream.classifier_name:
                stream.set_submodule(head, nn.Identity())
            stream.requires_grad_(False)
            stream.eval()

    @property
    def streams(self) -> dict[str, ImageNetwork]:
        """The image networks by name, in the order of the sequence network's inputs."""
        return {"appearance": self.appearance} | ({} if self.motion is None else {"motion": self.motion})

    def frame_features(self, clips: Tensor) -> tuple[Tensor, ...]:
        """What the sequence network reads of clips [B,C,T,H,W]: for each input maps [B,T,F,h,w] or vectors [B,T,D].

        No frame sees another: those of all clips go through the image network as one batch. There is no gradient.
        """
        images = clips.transpose(1, 2).flatten(0, 1)  # [B·T,C,H,W]
        inputs = [images] if self.motion is None else [images[:, :RGB_CHANNELS], images[:, RGB_CHANNELS:]]
        features = []
        with torch.no_grad():
            for stream, tap, batch in zip(self.streams.values(), self.sequence.taps, inputs, strict=True):
                output = stream.forward_features(batch)  # [B·T,F,h,w]
                if tap == "vector":
                    output = stream.forward_head(output, pre_logits=True)  # [B·T,D]
                features.append(output.reshape(clips.shape[0], clips.shape[2], *output.shape[1:]).contiguous())
        return tuple(features)

    def forward_features(self, x: Tensor) -> Tensor:
        """[B,C,T,H,W] → the sequence network's states, [B,F,T] or [B,F,T,h,w]."""
        return self.sequence.forward_features(*self.frame_features(x))

    def forward_head(self, features: Tensor, *, pre_logits: bool = False) -> Tensor:
        """States [B,F,T,…] → scores [B,K]; see :meth:`SequenceNetwork.forward_head`."""
        return self.sequence.forward_head(features, pre_logits=pre_logits)

    def attention(self, clips: Tensor) -> Tensor | None:
        """Where the network looks in clips [B,C,T,H,W]: [B,T,h,w], or None of a network without attention."""
        return self.sequence.unroll(*self.frame_features(clips)).attention

    def stage_modules(self) -> tuple[tuple[str, ...], ...]:
        """The image networks, as one stage: frozen they are anyway."""
        return (tuple(self.streams),)

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`Network.reset_classifier`."""
        self.num_classes = num_classes
        self.sequence.reset_classifier(num_classes)

    def train(self, mode: bool = True) -> Self:
        """Set the sequence network's mode; the image networks stay in evaluation."""
        super().train(mode)
        for stream in self.streams.values():
            stream.eval()
        return self

    def adopt(self, *, appearance: ImageNetwork, motion: ImageNetwork | None = None) -> None:
        """Take over the weights of image networks that were trained by themselves; all of them, or none.

        Of their heads only what is read here counts: a classifier may have any number of classes.

        Raises:
            KineflowError: There are too few or too many, or weights differ in names or shapes.
        """
        given = {"appearance": appearance} | ({} if motion is None else {"motion": motion})
        if given.keys() != self.streams.keys():
            raise KineflowError(
                f"weights for {' and '.join(given)}, and the network has {' and '.join(self.streams)}",
                remedy="give one trained image network for each input",
            )
        states = {}
        for (name, stream), tap in zip(self.streams.items(), self.sequence.taps, strict=True):
            left_out = f"{head_of(stream) if tap == 'map' else stream.classifier_name}."
            trained = given[name].state_dict()
            states[name] = {key: tensor for key, tensor in trained.items() if not key.startswith(left_out)}
            require_same_tensors(
                shapes(stream.state_dict()),
                shapes(states[name]),
                where=f"{name} backbone",
                remedy="give a network of the same backbone, width and input channels",
            )
        for name, stream in self.streams.items():
            stream.load_state_dict(states[name])

    @property
    def head_hidden_size(self) -> int:
        """D, the length of what the classifier sees."""
        return self.sequence.head_hidden_size


def frame_network(
    sequence: type[SequenceNetwork],
    *,
    num_classes: int,
    in_channels: int = RGB_CHANNELS,
    backbone: str,
    width: float = 1.0,
    output_stride: int = 32,
    **own: Any,
) -> FrameNetwork:
    """Build a sequence network and image networks that fit it.

    Args:
        sequence: Its kind.
        num_classes: K; 0 leaves the classifier out.
        in_channels: C of a clip: with one input 3 for RGB and 2 for flow, with two 5, a frame and its flow frame.
        backbone: See :func:`kineflow.models.registry.list_backbones`; the same for both inputs.
        width: Multiplies the channels of every layer of the backbones, and with them what the sequence network reads.
        output_stride: Of the backbones; see :func:`kineflow.models.scale.late_strides`.
        own: Further keywords of the sequence network. How many cells the map has follows from the size of the frames
            too, so it has to be told: 7×7 at 224 px and stride 32, 8×8 at 64 px and stride 8.

    Raises:
        KineflowError: A value is out of its range.
    """
    channels = {"in_channels": in_channels}
    if len(sequence.taps) > 1:
        if in_channels <= RGB_CHANNELS:
            raise KineflowError(
                f"{in_channels} channels are no frame and its flow",
                remedy="give in_channels 5: 3 of the frame, and 2 of its flow frame",
            )
        channels = {"in_channels": RGB_CHANNELS, "motion_channels": in_channels - RGB_CHANNELS}
    streams = [
        create_backbone(backbone, in_channels=stream_channels, width=width, output_stride=output_stride)
        for stream_channels in channels.values()
    ]
    read = [
        stream.num_features if tap == "map" else stream.head_hidden_size
        for stream, tap in zip(streams, sequence.taps, strict=True)
    ]
    network = sequence(num_classes=num_classes, **dict(zip(channels, read, strict=True)), **own)
    return FrameNetwork(network, **dict(zip(("appearance", "motion"), streams, strict=False)))


def register_frame_network(sequence: type[SequenceNetwork]) -> Callable[[Build], Build]:
    """Register a function as :func:`register_model` does, one that calls :func:`frame_network` for ``sequence``.

    Its ``**keywords`` are those of both; in its signature, from which the registry knows them, they stand one by one.
    """

    def register(build: Build) -> Build:
        keywords = {**_keywords_of(sequence), **_keywords_of(frame_network), **_keywords_of(build)}
        keywords.pop("motion_channels", None)  # follows from the backbone
        build.__signature__ = inspect.Signature(list(keywords.values()))  # type: ignore[attr-defined]
        _SEQUENCES[build.__name__] = sequence
        return register_model(build)

    return register


def tap_of(name: str) -> tuple[Tap, ...]:
    """What the network registered as ``name`` reads of its image networks, one entry for each.

    Raises:
        KineflowError: No frame network has this name.
    """
    import_networks()  # their files say which read what
    if name not in _SEQUENCES:
        raise KineflowError(f"{name!r} is no frame network", remedy=f"choose one of: {', '.join(sorted(_SEQUENCES))}")
    return _SEQUENCES[name].taps


def head_of(network: ImageNetwork) -> str:
    """Name of what lies behind the last feature map: the classifier, or the layers that it stands among."""
    return network.classifier_name.rpartition(".")[0] or network.classifier_name


def _keywords_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
