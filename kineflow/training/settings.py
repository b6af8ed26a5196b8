"""How a network is trained: every choice, its range, and nothing of where the data lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from kineflow.data.crops import Jitter, Positions, Sides
from kineflow.spec.preprocessing import Fit
from kineflow.spec.sampling import ShortPolicy
from kineflow.storage.config import Keywords, Params, faults_of_a_key, parse_params
from kineflow.training.best_round import MonitorName
from kineflow.training.kept_weights import Keep
from kineflow.training.losses.registry import CROSS_ENTROPY, check_loss, check_options
from kineflow.training.term_settings import Layer, TermSettings

Share = Annotated[float, Field(gt=0, le=4)]
PartialNorms = Literal["off", "statistics", "affine"]
FEW_TO_NORMALISE = 4  # clips
Compile = Literal["off", "on", "graphs"]
Decoding = Literal["cpu", "cuda"]


class OptimiserSettings(Params):
    """The optimiser and its schedule.

    Attributes:
        name: ``adamw``; ``sgd`` with Nesterov-free momentum, ``adam`` or ``rmsprop``, as in the papers. ``adam`` adds
            the decay to the gradient.
        learning_rate: Peak value.
        weight_decay: Applied to weights of two or more dimensions only; norms and biases are left alone.
        momentum: Of SGD.
        alpha: ρ of RMSProp, the weight of what its mean square was before.
        eps: Added to RMSProp's root mean square.
        schedule: ``cosine`` to zero, ``steps`` (times 0.1 at each of ``milestones``) or ``constant``.
        milestones: For ``steps``: shares of all training steps.
        warmup_ratio: Share of all steps over which the rate rises linearly from zero.
        clip_gradient_norm: Upper bound of the gradient's norm; 0 for none.
        bias_lr_mult: Multiplies the learning rate of biases (not of norms); 2 in Caffe's tradition.
        stem_lr_mult: Multiplies that of the first convolution, its bias as well; 5 for TSN's flow stream.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "smoothing": "alpha",
        "epsilon": "eps",
        "warmup_share": "warmup_ratio",
        "bias_rate": "bias_lr_mult",
        "stem_rate": "stem_lr_mult",
    }

    name: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    alpha: float = Field(default=0.9, ge=0, lt=1)
    eps: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.6, 0.85)
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    clip_gradient_norm: float = Field(default=0.0, ge=0)
    bias_lr_mult: float = Field(default=1.0, gt=0, le=100)
    stem_lr_mult: float = Field(default=1.0, gt=0, le=100)


class RunSettings(Params):
    """What every training run has, whatever it learns from.

    Attributes:
        steps: Optimiser steps.
        epochs: In place of ``steps``: passes over the training clips (with ``windows: every``, over all windows). A
            pass is clips / ``batch_size`` steps, rounded up.
        validate_every_steps: A round of training. Divides ``steps``.
        validate_every_epochs: The same in epochs, where ``epochs`` is given: 1 by default. Divides ``epochs``.
        keep: Which weights training ends with: ``best``, of the round that was best on ``val``; ``last``; or
            ``average``, the mean of the last ``average_rounds`` rounds. Only ``best`` needs clips in ``val``.
        average_rounds: Of ``keep: average``.
        refit: Choose on ``val`` how many steps to train, then train again from the start on ``train`` and ``val`` for
            so many steps. What ``val`` says of the model is what it said of the first training.
        batch_size: Labelled clips a step, of all processes together: whatever ``nodes`` and ``devices`` are, the same
            clips make a step, and the same model comes out but for rounding and other draws of dropout, mixtures and
            colours, where there are any.
        nodes: Machines to train on.
        devices: Processes a machine, each with a GPU of its own, or on a CPU with its share of the cores.
            ``batch_size`` must be a multiple of ``nodes`` × ``devices``.
        accumulate: Parts in which each process computes its share of a batch, one after the other; their gradients are
            added before the optimiser steps, so that less memory is needed. Loss and gradient are those of the whole
            batch, but where batch normalisation learns: its statistics are of the clips of one part, and its running
            ones move once a part. ``partial_norms`` holds them.
        label_smoothing: Of the cross entropy, or a loss of your own that takes it.
        optimiser: See :class:`OptimiserSettings`.
        precision: ``auto`` is bfloat16 mixed precision on a GPU that has it, float32 elsewhere.
        compile: ``on`` compiles the training step by torch.compile, ``graphs`` records CUDA graphs of it as well (on a
            CPU: as ``on``). Results change by rounding. The first step takes up to minutes longer. A CPU needs a C++
            compiler, a GPU Triton.
        deterministic: Whether a training that is repeated on the same machine gives the same bits. ``false`` lets cuDNN
            try which algorithm is fastest, and torch add in any order.
        monitor: Which validation figure chooses the best round: ``top1``, ``loss``, or ``auto``. That goes by loss
            where ``val`` has fewer than 200 clips, or the network is ``multi_label``; else by top-1, and where rounds
            are within a standard error of the highest top-1, by loss.
        ema: Decay of an exponential moving average of the weights, .999 say; the average is then what is validated and
            kept. Its first steps decay faster. 0: no average.
        patience_rounds: Training ends early once so many rounds in a row were not the best; 0: never. The schedule of
            the learning rate stays that of all ``steps``.
        workers: Decoding processes, of each training process; 0 decodes in the training process.
        cache_mb: Decoded clips kept in memory, MiB a process.
    """

    renamed: ClassVar[Mapping[str, str]] = {"select_by": "monitor"}

    steps: int = Field(default=10_000, ge=0)
    epochs: int = Field(default=0, ge=0)
    validate_every_steps: int = Field(default=500, ge=0)
    validate_every_epochs: int = Field(default=0, ge=0)
    keep: Keep = "best"
    average_rounds: int = Field(default=5, ge=1)
    refit: bool = False
    batch_size: int = Field(default=16, ge=1, le=4096)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    optimiser: OptimiserSettings = OptimiserSettings()
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    compile: Compile = "off"
    deterministic: bool = True
    monitor: MonitorName = "auto"
    workers: int = Field(default=0, ge=0, le=64)
    cache_mb: int = Field(default=0, ge=0)
    nodes: int = Field(default=1, ge=1, le=1024)
    devices: int = Field(default=1, ge=1, le=64)
    accumulate: int = Field(default=1, ge=1, le=4096)
    ema: float = Field(default=0.0, ge=0, lt=1)
    patience_rounds: int = Field(default=0, ge=0)

    @property
    def processes(self) -> int:
        """That train together."""
        return self.nodes * self.devices

    @property
    def micro_batch_size(self) -> int:
        """Labelled clips that one process computes with at once."""
        return self.batch_size // (self.processes * self.accumulate)

    @property
    def needs_val(self) -> bool:
        """Whether clips of ``val`` decide about the result."""
        return self.keep == "best"

    def in_steps(self, items: int) -> Self:
        """The same with epochs counted out in steps.

        Args:
            items: Training clips, or windows, that make an epoch.

        Raises:
            KineflowError: The settings do not fit that many steps.
        """
        if not self.epochs:
            return self
        epoch = math.ceil(items / self.batch_size)
        counted = {"steps": self.epochs * epoch, "validate_every_steps": self.validate_every_epochs * epoch}
        values = {**self.model_dump(), **counted, "epochs": 0, "validate_every_epochs": 0}
        return parse_params(type(self), values, where=f"{self.epochs} epochs of {items} clips")

    def wherever_it_runs(self) -> Self:
        """The same settings for one process: what decides the result but for rounding, and not how it is computed."""
        here: dict[str, Any] = {"nodes": 1, "devices": 1, "compile": "off", "deterministic": True}
        return self.model_copy(update=here)

    def doubts(self) -> list[str]:
        """What is allowed and can hardly be meant, in words."""
        rounds = (self.epochs or self.steps) // (self.validate_every_epochs or self.validate_every_steps)
        if self.patience_rounds and self.patience_rounds + 1 >= rounds:
            return [f"patience_rounds ({self.patience_rounds}) can end no training of {rounds} rounds"]
        return []

    @field_validator("compile", mode="before")
    @classmethod
    def _on_and_off_are_words(cls, given: object) -> object:
        """YAML reads a bare ``on`` as true."""
        return {True: "on", False: "off"}[given] if isinstance(given, bool) else given

    @model_validator(mode="before")
    @classmethod
    def _epochs_replace_steps(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("epochs"):
            return {"steps": 0, "validate_every_steps": 0, "validate_every_epochs": 1, **given}
        return given

    @model_validator(mode="after")
    def _rounds_fit(self) -> Self:
        unit, other = ("epochs", "steps") if self.epochs else ("steps", "epochs")
        length, every = getattr(self, unit), getattr(self, f"validate_every_{unit}")
        if getattr(self, other) or getattr(self, f"validate_every_{other}"):
            raise ValueError(
                "give steps and validate_every_steps, or epochs and validate_every_epochs, and not some of both"
            )
        if not length or not every:
            raise ValueError(f"{unit} and validate_every_{unit} must be at least 1")
        if length % every:
            raise ValueError(f"{unit} ({length}) must be a multiple of validate_every_{unit} ({every})")
        return self

    @model_validator(mode="after")
    def _weights_can_be_kept(self) -> Self:
        if self.patience_rounds and not self.needs_val:
            raise ValueError(f"patience_rounds goes by the best round on val, so keep must be best, not {self.keep}")
        if self.ema and self.keep == "average":
            raise ValueError("keep: average and ema are two averages of weights; give one of them")
        return self

    @model_validator(mode="after")
    def _refit_is_chosen_on_val(self) -> Self:
        if self.refit and not self.needs_val:
            raise ValueError(f"refit trains as long as was best on val, so keep must be best, not {self.keep}")
        return self

    @model_validator(mode="after")
    def _batches_can_be_shared(self) -> Self:
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size ({self.batch_size}) counts the clips of all processes together, "
                f"and must be a multiple of nodes × devices ({self.nodes} × {self.devices})"
            )
        if self.batch_size % (self.processes * self.accumulate):
            raise ValueError(
                f"batch_size ({self.batch_size}) is computed in accumulate ({self.accumulate}) parts by each of "
                f"{self.processes} processes, and must be a multiple of both together"
            )
        if self.accumulate > 1 and self.compile == "graphs":
            raise ValueError("compile must be on or off where accumulate is above 1: a graph overwrites its gradients")
        return self


class TrainSettings(RunSettings):
    """One training run on clips.

    Attributes:
        frames, stride_frames: The clip a network sees, in frames of the stored clip; of TSN, each snippet.
        stride_frames_max: The stride of a training clip is drawn from ``stride_frames`` to this; 0: it is fixed.
        test_frames, test_stride_frames: The clip that the trained model is validated and tested on, where it is
            another; 0: the same.
        short: What happens where a video is shorter than the clip, see :mod:`kineflow.spec.sampling`.
        short_side, crop: Size of the frames after resizing and of the square cut out of them, px.
        fit: ``squash`` makes the whole frame a square of side ``crop`` in place of cutting one out.
        flip: Mirror half of the training clips (u is inverted). Off where left and right are different classes.
        crop_scales: Empty: crops are squares of side ``crop``, placed anywhere. Else TSN's: height and width are
            chosen from these shares of ``short_side``, and resized to ``crop``.
        crop_sides: Which of ``crop_scales`` go together as height and width: the same and ``neighbours`` (TSN), or
            ``any`` (ST-ResNet's motion).
        crop_range: In place of ``crop_scales``: height and width are each drawn between these shares of ``crop``, up to
            the frame's own, and resized to ``crop``: 0.75 and 1.25 for ST-ResNet.
        crop_positions: Of crops with ``crop_scales`` or ``crop_range``: 5, corners and centre; 13; or ``borders``, near
            the corner at the top left or at the bottom right (ST-ResNet).
        mixup, cutmix: α of the Beta distribution that weighs two clips which are mixed, or of which one gets a
            rectangle of the other, in all modalities alike; .2 to 1. With both, each of them half of the time. 0: off.
        colour_jitter: Brightness, contrast and saturation of RGB clips are multiplied by factors of 1 ± this, the same
            in all frames of a clip; .4 say. 0: off.
        sampling: Of labelled clips: ``natural`` sees each as often, ``balanced`` each class as often and its clips in
            turn, for classes of very different sizes.
        partial_norms: What of all batch normalisations but the first is frozen: ``statistics``, or ``affine`` with
            scales and offsets as well. For networks that start from a checkpoint.
        frozen: ``backbone`` trains the classifier alone, a linear probe, and keeps what leads to it as it was; for
            networks that start from a checkpoint, too.
        unfrozen_stages: Of a frozen backbone: the last so many stages that learn with the classifier (blocks of S3D
            and Inception, layers of a ResNet).
        unfreeze_after_steps: Of a frozen backbone: from this optimiser step on all of it learns; 0: never.
        decoding: ``cuda`` decodes, resizes and cuts the frames of RGB streams on the GPU, from
            local clips; flow, and what a GPU cannot decode, is decoded on the CPU. Colours may differ a little from
            those that evaluation and prediction see, which decode on the CPU. These frames are not kept by
            ``cache_mb``.
        activation_checkpointing: Keep of each stage of the network what it was given alone, and compute the rest again
            for the backward pass: much less memory, about a third more time, and the same training but for rounding.
        loss: Of the labels: ``cross_entropy``, or one of your own by its dotted path, ``my_package.my_loss``. What
            validation reports as ``val/loss`` is the cross entropy all the same.
        loss_options: Keywords of the loss's function.
    """

    frames: int = Field(default=64, ge=1, le=1024)
    stride_frames: int = Field(default=1, ge=1, le=64)
    stride_frames_max: int = Field(default=0, ge=0, le=64)
    test_frames: int = Field(default=0, ge=0, le=1024)
    test_stride_frames: int = Field(default=0, ge=0, le=64)
    short: ShortPolicy = "repeat_last"
    short_side: int = Field(default=256, ge=8, le=2048)
    crop: int = Field(default=224, ge=8, le=2048)
    fit: Fit = "crop"
    flip: bool = True
    crop_scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    crop_sides: Sides = "neighbours"
    crop_range: tuple[Share, ...] = ()
    crop_positions: Positions = 5
    mixup: float = Field(default=0.0, ge=0, le=10)
    cutmix: float = Field(default=0.0, ge=0, le=10)
    colour_jitter: float = Field(default=0.0, ge=0, lt=1)
    sampling: Literal["natural", "balanced"] = "natural"
    partial_norms: PartialNorms = "off"
    frozen: Literal["none", "backbone"] = "none"
    unfrozen_stages: int = Field(default=0, ge=0, le=64)
    unfreeze_after_steps: int = Field(default=0, ge=0)
    decoding: Decoding = "cpu"
    activation_checkpointing: bool = False
    loss: str = CROSS_ENTROPY
    loss_options: Keywords = Field(default_factory=dict)

    def task_options(self) -> dict[str, Any]:
        """Keywords of a task (:class:`kineflow.training.tasks.Classification`)."""
        return {
            "label_smoothing": self.label_smoothing,
            "partial_norms": self.partial_norms,
            "frozen": self.frozen,
            "unfrozen_stages": self.unfrozen_stages,
            "unfreeze_after_steps": self.unfreeze_after_steps,
            "loss": self.loss,
            "loss_options": self.loss_options,
            "activation_checkpointing": self.activation_checkpointing,
        }

    def doubts(self) -> list[str]:
        """See :meth:`RunSettings.doubts`."""
        doubts, part = super().doubts(), self.batch_size // self.accumulate
        norms_learn = self.partial_norms == "off" and self.frozen == "none"
        if self.accumulate > 1 and part < FEW_TO_NORMALISE and norms_learn:
            doubts.append(
                f"with accumulate ({self.accumulate}) batch normalisation sees {part} clips at a time; a larger part, "
                "or partial_norms, keeps its statistics steady"
            )
        if self.micro_batch_size == 1 and (self.mixup or self.cutmix):
            doubts.append("mixup and cutmix mix a clip with itself where a process computes one at a time")
        return doubts

    @field_validator("loss")
    @classmethod
    def _there_is_such_a_loss(cls, loss: str) -> str:
        with faults_of_a_key():
            check_loss(loss)
        return loss

    @model_validator(mode="after")
    def _loss_takes_its_options(self) -> Self:
        with faults_of_a_key():
            check_options(self.loss, [*self.loss_options, *(["label_smoothing"] if self.label_smoothing else [])])
        return self

    @model_validator(mode="after")
    def _clips_fit(self) -> Self:
        if self.crop > self.short_side:
            raise ValueError(f"crop must be at most short_side ({self.short_side}), not {self.crop}")
        if 0 < self.stride_frames_max < self.stride_frames:
            raise ValueError(f"stride_frames_max must be 0 or at least stride_frames ({self.stride_frames})")
        for name in ("crop_scales", "crop_range"):
            if self.fit == "squash" and getattr(self, name):
                raise ValueError(f"{name} must be empty where fit is squash: whole frames are seen")
        if self.crop_scales and self.crop_range:
            raise ValueError("crop_range must be empty where crop_scales are given: either says how large crops are")
        if self.crop_range and (len(self.crop_range) != 2 or self.crop_range[0] > self.crop_range[1]):
            raise ValueError(f"crop_range must be a smaller share and a larger one, not {list(self.crop_range)}")
        if self.crop_sides == "any" and not self.crop_scales:
            raise ValueError("crop_sides is for crop_scales: give some")
        if self.crop_positions == "borders" and not (self.crop_scales or self.crop_range):
            raise ValueError("crop_positions is for crop_scales or crop_range: give one of them")
        return self

    @model_validator(mode="after")
    def _freezing_fits(self) -> Self:
        if self.frozen == "none" and (self.unfrozen_stages or self.unfreeze_after_steps):
            raise ValueError("unfrozen_stages and unfreeze_after_steps are for frozen: backbone")
        if self.steps and self.unfreeze_after_steps >= self.steps:
            raise ValueError(f"unfreeze_after_steps must be below steps ({self.steps}), or 0 for never")
        return self

    @property
    def jitter(self) -> Jitter | None:
        """How training crops vary in size; None: they do not."""
        if not self.crop_scales and not self.crop_range:
            return None
        side_range = (self.crop_range[0], self.crop_range[1]) if self.crop_range else None
        return Jitter(self.crop_scales, self.crop_positions, self.crop_sides, side_range)

    @property
    def tested_frames(self) -> int:
        """Time steps of the clip that the trained model is tested on."""
        return self.test_frames or self.frames


class DistillSettings(Params):
    """What a student learns from its teachers (D3D §3; MARS for pooled features).

    Attributes:
        kd_weight: λ of L = ``ce_weight`` · CE + λ · MSE, or with ``terms`` of λ times their sum. The mean squared error
            is taken over classes (or features) and clips.
        layer: ``logits`` (D3D), ``features``, the pooled activations before the classifier (MARS, α = 50), or a stage
            of S3D or S3D-G, whose maps are compared.
        direction: Which modality teaches which; checked against the teacher, the first of several, and the initial
            weights.
        ce_weight: Weight of the cross entropy; 0 distils only.
        unlabelled_batch_size: Unlabelled clips a step, in the distillation terms alone, where the step uses them.
        terms: Other losses, or several of them, in place of the mean squared error at ``layer``.
    """

    renamed: ClassVar[Mapping[str, str]] = {"weight": "kd_weight", "label_weight": "ce_weight"}

    kd_weight: float = Field(default=1.0, ge=0)
    layer: Layer = "logits"
    direction: Literal["flow_to_rgb", "rgb_to_flow", "rgb_to_rgb", "flow_to_flow"] = "flow_to_rgb"
    ce_weight: float = Field(default=1.0, ge=0)
    unlabelled_batch_size: int = Field(default=16, ge=0, le=4096)
    terms: tuple[TermSettings, ...] = Field(default=(), max_length=8)

    @property
    def all_terms(self) -> tuple[TermSettings, ...]:
        """The terms, or the one that there is without any."""
        return self.terms or (TermSettings(layer=self.layer),)

    def described(self) -> str:
        """In words, for a model's card: ``0.3 × (1 × mse of logits)``."""
        return f"{self.kd_weight:g} × ({' + '.join(term.described() for term in self.all_terms)})"

    @model_validator(mode="after")
    def _layers_are_those_of_the_terms(self) -> Self:
        if self.terms and self.layer != "logits":
            raise ValueError("layer is for a distillation without terms: each term has its own")
        return self
