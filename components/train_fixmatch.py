"""Clip set and initial weights to a model that has learnt from its own pseudo-labels, too."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.tracking.tracker import NULL_TRACKER, Tracker
from kineflow.training.semi_supervised.settings import FixMatchSettings
from kineflow.training.settings import TrainSettings


def train_fixmatch(
    *,
    clips: DatasetInput,
    flow: DatasetInput | None = None,
    initial: ModelInput,
    params: TrainSettings,
    fixmatch: FixMatchSettings,
    name: str,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    model: ModelOutput,
) -> MeasuredResult:
    """Train a stream on labelled clips, and on what it is itself sure of in unlabelled ones.

    FixMatch, or plain pseudo-labels: no other network teaches. ``params.keep`` says which weights are kept. An
    interrupted run continues from its last round.

    Args:
        clips: Clip set, with clips of the split ``unlabelled``.
        flow: Flow set; read by the flow stream only.
        initial: Bundle of initial weights.
        params: How to train.
        fixmatch: What unlabelled clips are for: threshold, weight, and how clips are perturbed.
        name: Of the model.
        seed: Decides the order of the clips, the windows and crops, perturbations, and dropout.
        tracker: Told the curves as they come.
        model: Folder to write: the bundle, and its curves.
    """
    from kineflow.training.outputs import load_data, save_trained, training_work
    from kineflow.training.semi_supervised.jobs import train_by_itself

    data = load_data(clips, flow)
    with training_work(model, clips, flow, [initial], params, fixmatch, name, seed) as work:
        trained = train_by_itself(data, initial, params, fixmatch, name=name, seed=seed, work=work, tracker=tracker)
        save_trained(trained, data.clip_set, model, work)
    return StepResult(metrics=trained.fitted.metrics, summary=trained.summary, artifacts={"model": model})


if __name__ == "__main__":
    command(train_fixmatch)
