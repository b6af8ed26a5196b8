"""From clip set, flow set and initial weights to a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kineflow.models.card import ModelCard
from kineflow.models.network import VideoNetwork
from kineflow.models.st_resnet import STResNet
from kineflow.tracking.tracker import Tracker
from kineflow.training.clips import Data, check_warped, fit_on_clips
from kineflow.training.loop import Fitted
from kineflow.training.model_cards import for_these_classes, with_flow_source, with_metrics
from kineflow.training.settings import TrainSettings
from kineflow.training.tasks import Classification
from kineflow.training.two_stream import TwoStream


@dataclass(frozen=True)
class Trained:
    """A trained network, its card, and how training went."""

    network: VideoNetwork
    card: ModelCard
    fitted: Fitted

    @property
    def summary(self) -> str:
        """One line: which weights were kept, and how good they were."""
        figures = ", ".join(f"{name} {value:.3f}" for name, value in self.fitted.metrics.items())
        return f"{self.fitted.kept}; {figures}"


def train_network(
    data: Data, initial: Path, settings: TrainSettings, *, name: str, seed: int, work: Path, tracker: Tracker
) -> Trained:
    """Train one stream on the labelled clips of ``train``; ``settings.keep`` says which weights are kept.

    Args:
        data: Clips, and flow where the stream reads it.
        initial: Bundle of initial weights; its modality is the stream's. Its classifier is kept if it is one for the
            classes of the clip set, and made anew if not.
        settings: How to train.
        name: Of the model.
        seed: Of weights, batches and dropout.
        work: Where checkpoints are kept, for a run that is interrupted.
        tracker: Receives the curves.

    Raises:
        KineflowError: The clip set has no clips to train or validate on, or flow is missing.
    """
    network, card = for_these_classes(initial, data.clip_set, settings, name=name, seed=seed)
    check_warped(card, data.flow_set)
    task = _task(network, card, settings)
    fitted = fit_on_clips(
        task, data, settings, modalities=(card.preprocessing.modality,), seed=seed, work=work, tracker=tracker
    )
    card = with_flow_source(card, data)
    return Trained(network, with_metrics(card, fitted), fitted)


def _task(network: VideoNetwork, card: ModelCard, settings: TrainSettings) -> Classification:
    if isinstance(network, STResNet):
        return TwoStream(network, card.preprocessing, **settings.task_options())
    return Classification(network, card.preprocessing, **settings.task_options())
