"""How unlabelled clips teach a network that has no teacher but itself."""

from __future__ import annotations

from pydantic import Field

from kineflow.storage.config import Params

TWO_AVERAGES = "ema averages weights, and the mean teacher, which is kept, is an average already"
ONE_AVERAGE = "set ema to 0; decay is that of the mean teacher"


class PerturbationSettings(Params):
    """How a clip is changed, alike in all of its frames, before the network has to say the same of it.

    Attributes:
        colour_jitter: Brightness, contrast and saturation of RGB clips are multiplied by factors of 1 ± this.
        cutout: A grey square hides a part of every frame; its side is drawn up to this share of the frame's.
        zoom: A square whose side is drawn between 1 - this and 1 of the frame's, placed anywhere, fills the frame.
    """

    colour_jitter: float = Field(default=0.4, ge=0, lt=1)
    cutout: float = Field(default=0.5, ge=0, le=1)
    zoom: float = Field(default=0.25, ge=0, lt=1)

    @property
    def perturbs(self) -> bool:
        """Whether anything is changed."""
        return bool(self.colour_jitter or self.cutout or self.zoom)

    def perturbation_in_words(self) -> str:
        """For a model's card."""
        given = {name: getattr(self, name) for name in ("colour_jitter", "cutout", "zoom")}
        return ", ".join(f"{name} {value:g}" for name, value in given.items() if value) or "clips as they are"


class FixMatchSettings(PerturbationSettings):
    """FixMatch (Sohn et al. 2020): L = CE + ``weight`` · the cross entropy of perturbed clips with pseudo-labels.

    A clip's pseudo-label is what the network says of it as a training shows it, where it is sure enough. Without
    ``colour_jitter``, ``cutout`` and ``zoom`` these are plain pseudo-labels (Lee 2013).

    Attributes:
        weight: λ_u.
        threshold: τ, the least probability of a pseudo-label.
        unlabelled_batch_size: Unlabelled clips a step; the paper's are 7 times the labelled ones (μ), ours as many.
    """

    weight: float = Field(default=1.0, ge=0)
    threshold: float = Field(default=0.95, ge=0, le=1)
    unlabelled_batch_size: int = Field(default=16, ge=1, le=4096)

    def described(self) -> str:
        """In words, for a model's card."""
        method = "fixmatch" if self.perturbs else "pseudo-labels"
        return f"{method}: {self.weight:g} × above {self.threshold:g}; {self.perturbation_in_words()}"


class MeanTeacherSettings(PerturbationSettings):
    """Mean teacher (Tarvainen & Valpola 2017): L = CE + w · the squared distance of probabilities from a teacher's.

    The teacher is the average of the network's own weights over the steps. It sees clips as a training shows them, and
    the network sees them perturbed. The teacher is what is validated and kept.

    Attributes:
        weight: w once it has risen, of the mean over classes and clips; the paper's is 100.
        rise_ratio: Share of all steps over which w rises to that, as exp(−5 (1 − t/T)²).
        decay: Of the average; the first steps' is smaller, see
            :class:`kineflow.training.weight_average.WeightAverage`.
        unlabelled_batch_size: Unlabelled clips a step.
    """

    weight: float = Field(default=100.0, ge=0)
    rise_ratio: float = Field(default=0.3, ge=0, le=1)
    decay: float = Field(default=0.99, ge=0, lt=1)
    unlabelled_batch_size: int = Field(default=16, ge=1, le=4096)

    def described(self) -> str:
        """In words, for a model's card."""
        return (
            f"mean teacher: {self.weight:g} × consistency, rising over {self.rise_ratio:g} of the steps, decay "
            f"{self.decay:g}; {self.perturbation_in_words()}"
        )
