"""Clip set, flow set and initial weights to a student that has also learnt to tell the flow."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.tracking.tracker import NULL_TRACKER, Tracker
from kineflow.training.settings import TrainSettings
from kineflow.training.variant_settings import AuxiliarySettings


def train_auxiliary(
    *,
    clips: DatasetInput,
    flow: DatasetInput,
    initial: ModelInput,
    params: TrainSettings,
    auxiliary: AuxiliarySettings,
    name: str,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    model: ModelOutput,
) -> MeasuredResult:
    """Train a student that also learns to tell the flow.

    It learns from labels, and a decoder learns the flow from its features (an ablation of D3D). What is written is the
    student alone, a model like any other.

    Args:
        clips: Clip set.
        flow: Flow set; what the decoder learns.
        initial: Bundle of initial weights, S3D or S3D-G.
        params: How to train.
        auxiliary: The decoder, where it stands, and the weight of its error.
        name: Of the model.
        seed: Decides the decoder's weights, the order of the clips, the windows and crops, and dropout.
        tracker: Told the curves as they come.
        model: Folder to write: the bundle, and its curves.
    """
    from kineflow.training.outputs import load_data, save_trained, training_work
    from kineflow.training.variant_jobs import train_with_decoder

    data = load_data(clips, flow)
    with training_work(model, clips, flow, [initial], params, auxiliary, name, seed) as work:
        trained = train_with_decoder(data, initial, params, auxiliary, name=name, seed=seed, work=work, tracker=tracker)
        save_trained(trained, data.clip_set, model, work)
    return StepResult(metrics=trained.fitted.metrics, summary=trained.summary, artifacts={"model": model})


if __name__ == "__main__":
    command(train_auxiliary)
