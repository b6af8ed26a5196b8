"""Clip set, flow set and initial weights to a trained model."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.tracking.tracker import NULL_TRACKER, Tracker
from kineflow.training.settings import TrainSettings


def train(
    *,
    clips: DatasetInput,
    flow: DatasetInput | None = None,
    initial: ModelInput,
    params: TrainSettings,
    name: str,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    model: ModelOutput,
) -> MeasuredResult:
    """Train one stream on the labelled clips.

    ``params.keep`` says which weights are kept. The stream's modality is that of the initial weights. An interrupted
    run continues from its last round.

    Args:
        clips: Clip set.
        flow: Flow set; read by the flow stream only.
        initial: Bundle of initial weights.
        params: How to train.
        name: Of the model.
        seed: Decides the order of the clips, the windows and crops, and dropout.
        tracker: Told the curves as they come.
        model: Folder to write: the bundle, and its curves.
    """
    from kineflow.training.jobs import train_network
    from kineflow.training.outputs import load_data, save_trained, training_work

    data = load_data(clips, flow)
    with training_work(model, clips, flow, [initial], params, name, seed) as work:
        trained = train_network(data, initial, params, name=name, seed=seed, work=work, tracker=tracker)
        save_trained(trained, data.clip_set, model, work)
    return StepResult(metrics=trained.fitted.metrics, summary=trained.summary, artifacts={"model": model})


if __name__ == "__main__":
    command(train)
