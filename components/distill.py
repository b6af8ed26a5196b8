"""Teachers, clip set, flow set and initial weights to a student."""

from __future__ import annotations

from typing import Annotated

from components.frontend.command import command
from components.frontend.contract import Between, DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.tracking.tracker import NULL_TRACKER, Tracker
from kineflow.training.settings import DistillSettings, TrainSettings


def distill(
    *,
    clips: DatasetInput,
    flow: DatasetInput | None = None,
    initial: ModelInput,
    teachers: Annotated[list[ModelInput], Between(1, 4)],
    params: TrainSettings,
    distillation: DistillSettings,
    name: str,
    use_unlabelled: bool = False,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    model: ModelOutput,
) -> MeasuredResult:
    """Train a student that also learns from one to four teachers.

    It learns from labels, and from what frozen teachers say of the same clips (D3D §3), each in its own geometry.

    Args:
        clips: Clip set.
        flow: Flow set; needed where a teacher or the student takes flow.
        initial: Bundle of initial weights.
        teachers: Bundles of the teachers. Their names are those in their ``model.json``.
        params: How to train.
        distillation: The weight of the teachers' word, and where it is heard.
        name: Of the model.
        use_unlabelled: Let clips of the split ``unlabelled`` enter the distillation terms alone.
        seed: Decides the order of the clips, the windows and crops, and dropout.
        tracker: Told the curves as they come.
        model: Folder to write: the bundle, and its curves.
    """
    from kineflow.training.distil_student import distil_student
    from kineflow.training.outputs import load_data, save_trained, training_work

    data = load_data(clips, flow)
    settings = (params, distillation, name, use_unlabelled, seed)
    with training_work(model, clips, flow, [initial, *teachers], *settings) as work:
        trained = distil_student(
            data,
            initial,
            teachers,
            params,
            distillation,
            name=name,
            use_unlabelled=use_unlabelled,
            seed=seed,
            work=work,
            tracker=tracker,
        )
        save_trained(trained, data.clip_set, model, work)
    return StepResult(metrics=trained.fitted.metrics, summary=trained.summary, artifacts={"model": model})


if __name__ == "__main__":
    command(distill)
