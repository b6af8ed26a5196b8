"""Teacher, clip set, flow set and initial weights to a student."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.tracking.tracker import NULL_TRACKER, Tracker
from kineflow.training.settings import DistillSettings, TrainSettings


def distill(
    *,
    clips: DatasetInput,
    flow: DatasetInput,
    initial: ModelInput,
    teacher: ModelInput,
    params: TrainSettings,
    distillation: DistillSettings,
    name: str,
    use_unlabelled: bool = False,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,
    model: ModelOutput,
) -> MeasuredResult:
    """Train a student that also learns from a teacher of another modality.

    It learns from labels, and from what a frozen teacher says of the same clips (D3D §3).

    Args:
        clips: Clip set.
        flow: Flow set; read by whichever of teacher and student takes flow.
        initial: Bundle of initial weights.
        teacher: Bundle of the teacher.
        params: How to train.
        distillation: The weight of the teacher's word, and where it is heard.
        name: Of the model.
        use_unlabelled: Let clips of the split ``unlabelled`` enter the distillation term alone.
        seed: Decides the order of the clips, the windows and crops, and dropout.
        tracker: Told the curves as they come.
        model: Folder to write: the bundle, and its curves.
    """
    from kineflow.training.jobs import distil_student
    from kineflow.training.outputs import load_data, save_trained, training_work

    data = load_data(clips, flow)
    settings = (params, distillation, name, use_unlabelled, seed)
    with training_work(model, clips, flow, [initial, teacher], *settings) as work:
        trained = distil_student(
            data,
            initial,
            teacher,
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
