"""How a recurrent network over stored features is built and trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kineflow.storage.config import Params
from kineflow.training.settings import RunSettings

NetworkName = Literal[
    "alstm", "cube_regression", "vgg_lstm", "vgg_alstm", "conv_lstm", "conv_alstm", "motion_alstm", "videolstm"
]
Count = Annotated[int, Field(ge=1, le=65536)]
Probability = Annotated[float, Field(ge=0, lt=1)]

_COMMON = {"hidden", "head_width", "dropout"}
_CONV = {*_COMMON, "kernel", "pool"}
_ATTENDING = {*_CONV, "normalisation", "rescale"}
_SCORING = {"multi_label", "scored_steps"}

# Keywords that each network takes; those that follow from the features (the backbone's, cells, grid) are not given.
KEYWORDS: dict[NetworkName, set[str]] = {
    "alstm": {*_COMMON, *_SCORING, "layers", "attention", "attention_layers"},
    "cube_regression": _SCORING,
    "vgg_lstm": _COMMON,
    "vgg_alstm": _COMMON,
    "conv_lstm": _CONV,
    "conv_alstm": _ATTENDING,
    "motion_alstm": _COMMON,
    "videolstm": {*_ATTENDING, "bottom_kernel", "top_feeds"},
}
_WITHOUT_ATTENTION = ("cube_regression", "vgg_lstm", "conv_lstm")


class NetworkSettings(Params):
    """Which network, and what of it differs from its paper; see its class for each keyword.

    Attributes:
        name: ``alstm`` and ``cube_regression`` (:mod:`kineflow.models.alstm`), or one of
            :mod:`kineflow.models.videolstm`.
        hidden: Length (channels) of a state.
        head_width: Of the tanh layer before the classifier.
        dropout: Where the network has it.
        layers: LSTM layers of ``alstm``.
        attention: Of ``alstm``; ``average`` and ``max`` pool in its place.
        attention_layers: On the features, in the additive attention of ``alstm``.
        multi_label: Classes do not exclude each other (sigmoid in place of softmax).
        scored_steps: The last so many steps of a clip decide about it; 0: all.
        kernel: Side of the kernels of a ConvLSTM.
        bottom_kernel: Of the one that sees motion, in ``videolstm``.
        pool: Average maps before the head in place of flattening them.
        normalisation: Of the attention over a map.
        rescale: Multiply attention by the number of cells.
        top_feeds: What sees the state of the upper ConvLSTM, in ``videolstm``.
    """

    name: NetworkName = "alstm"
    hidden: Count | None = None
    head_width: Count | None = None
    dropout: Probability | None = None
    layers: Count | None = None
    attention: Literal["location", "additive", "average", "max"] | None = None
    attention_layers: Count | None = None
    multi_label: bool | None = None
    scored_steps: int | None = Field(default=None, ge=0, le=1024)
    kernel: Count | None = None
    bottom_kernel: Count | None = None
    pool: bool | None = None
    normalisation: Literal["softmax", "sigmoid"] | None = None
    rescale: bool | None = None
    top_feeds: Literal["bottom", "attention"] | None = None

    @model_validator(mode="after")
    def _keywords_fit(self) -> Self:
        if unfitting := sorted(self.keywords().keys() - KEYWORDS[self.name]):
            raise ValueError(
                f"{self.name} has no {' and no '.join(unfitting)}; it has {', '.join(sorted(KEYWORDS[self.name]))}"
            )
        return self

    def keywords(self) -> dict[str, Any]:
        """What was given, for the network's constructor."""
        return self.model_dump(exclude={"name"}, exclude_none=True)

    @property
    def attends(self) -> bool:
        """Whether it has weights over the cells."""
        return self.name not in _WITHOUT_ATTENTION and self.attention not in ("average", "max")


class RecurrentSettings(RunSettings):
    """One training run on stored features. Over the steps of a clip, losses are summed, as in the papers.

    Attributes:
        network: See :class:`NetworkSettings`.
        frames, stride_frames: T, the time steps of a clip, and frames of video from one to the next. A shorter video
            repeats its last time step.
        windows: What a pass over the training clips is: a ``random`` window of each (VideoLSTM), or ``every`` window
            at every time step where one can start (ALSTM).
        reduction: Of the losses over the clips of a batch: ``mean`` as in VideoLSTM, ``sum`` as in ALSTM. Adam hardly
            tells one from the other; with SGD the learning rate goes with it.
        attention_penalty: λ of the doubly stochastic penalty, see
            :func:`kineflow.training.attention_losses.doubly_stochastic_penalty`.
        penalty_cells: Its reduction over the cells: ``sum`` as in the paper, ``mean`` as in the released code.
        l2: γ of γ Σ θ² over all trained parameters, biases among them. ``optimiser.weight_decay`` leaves biases out.
    """

    network: NetworkSettings = NetworkSettings()
    frames: int = Field(default=30, ge=1, le=1024)
    stride_frames: int = Field(default=1, ge=1, le=64)
    windows: Literal["random", "every"] = "random"
    reduction: Literal["mean", "sum"] = "mean"
    attention_penalty: float = Field(default=0.0, ge=0)
    penalty_cells: Literal["sum", "mean"] = "sum"
    l2: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _losses_fit(self) -> Self:
        if self.label_smoothing:
            raise ValueError("label_smoothing must be 0: every step has to name the clip's class, and no other")
        if self.attention_penalty and not self.network.attends:
            raise ValueError(f"attention_penalty must be 0: this {self.network.name} has no attention")
        return self
