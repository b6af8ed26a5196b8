"""How a network is trained: every choice, its range, and nothing of where the data lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from kineflow.spec.preprocessing import Fit
from kineflow.spec.sampling import ShortPolicy
from kineflow.storage.config import Keywords, Params, faults_of_a_key, parse_params
from kineflow.training.best_round import MonitorName
from kineflow.training.kept_weights import Keep
from kineflow.training.losses.registry import CROSS_ENTROPY, check_loss, check_options

PartialNorms = Literal["off", "statistics", "affine"]
Compile = Literal["off", "on", "graphs"]


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
            clips make a step, and the same model comes out but for rounding and, with dropout, other draws of it.
        nodes: Machines to train on.
        devices: Processes a machine, each with a GPU of its own, or on a CPU with its share of the cores.
            ``batch_size`` must be a multiple of ``nodes`` × ``devices``.
        label_smoothing: Of the cross entropy, or a loss of your own that takes it.
        optimiser: See :class:`OptimiserSettings`.
        precision: ``auto`` is bfloat16 mixed precision on a GPU that has it, float32 elsewhere.
        compile: ``on`` compiles the training step by torch.compile, ``graphs`` records CUDA graphs of it as well (on a
            CPU: as ``on``). Results change by rounding. The first step takes up to minutes longer. A CPU needs a C++
            compiler, a GPU Triton.
        deterministic: Whether a training that is repeated on the same machine gives the same bits. ``false`` lets cuDNN
            try which algorithm is fastest, and torch add in any order.
        monitor: Which validation figure chooses the best round: ``top1``, ``loss``, or ``auto``. That goes by loss
            where ``val`` has fewer than 200 clips; with more, by top-1, and where rounds are within a standard error
            of the highest top-1, by loss.
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

    @property
    def processes(self) -> int:
        """That train together."""
        return self.nodes * self.devices

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
            chosen from these shares of ``short_side`` (the same or neighbours), and resized to ``crop``.
        crop_positions: Of crops with ``crop_scales``: 5, corners and centre, or 13.
        partial_norms: What of all batch normalisations but the first is frozen: ``statistics``, or ``affine`` with
            scales and offsets as well. For networks that start from a checkpoint.
        frozen: ``backbone`` trains the classifier alone, a linear probe, and keeps what leads to it as it was; for
            networks that start from a checkpoint, too.
        unfrozen_stages: Of a frozen backbone: the last so many stages that learn with the classifier (blocks of S3D
            and Inception, layers of a ResNet).
        unfreeze_after_steps: Of a frozen backbone: from this optimiser step on all of it learns; 0: never.
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
    crop_positions: Literal[5, 13] = 5
    partial_norms: PartialNorms = "off"
    frozen: Literal["none", "backbone"] = "none"
    unfrozen_stages: int = Field(default=0, ge=0, le=64)
    unfreeze_after_steps: int = Field(default=0, ge=0)
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
        }

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
        if self.fit == "squash" and self.crop_scales:
            raise ValueError("crop_scales must be empty where fit is squash: whole frames are seen")
        return self

    @model_validator(mode="after")
    def _freezing_fits(self) -> Self:
        if self.frozen == "none" and (self.unfrozen_stages or self.unfreeze_after_steps):
            raise ValueError("unfrozen_stages and unfreeze_after_steps are for frozen: backbone")
        if self.steps and self.unfreeze_after_steps >= self.steps:
            raise ValueError(f"unfreeze_after_steps must be below steps ({self.steps}), or 0 for never")
        return self

    @property
    def tested_frames(self) -> int:
        """Time steps of the clip that the trained model is tested on."""
        return self.test_frames or self.frames


class DistillSettings(Params):
    """What a student learns from its teacher (D3D §3; MARS for pooled features).

    Attributes:
        kd_weight: λ of L = ``ce_weight`` · CE + λ · MSE. The mean squared error is taken over classes (or
            features) and clips.
        layer: ``logits`` (D3D) or ``features``, the pooled activations before the classifier (MARS, α = 50).
        direction: Which modality teaches which; checked against the teacher and the initial weights.
        ce_weight: Weight of the cross entropy; 0 distils only.
        unlabelled_batch_size: Unlabelled clips a step, in the distillation term alone, where the step uses them.
    """

    renamed: ClassVar[Mapping[str, str]] = {"weight": "kd_weight", "label_weight": "ce_weight"}

    kd_weight: float = Field(default=1.0, ge=0)
    layer: Literal["logits", "features"] = "logits"
    direction: Literal["flow_to_rgb", "rgb_to_flow"] = "flow_to_rgb"
    ce_weight: float = Field(default=1.0, ge=0)
    unlabelled_batch_size: int = Field(default=16, ge=0, le=4096)
