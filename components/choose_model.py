"""Of several models, the one that an evaluation is about."""

from __future__ import annotations

from typing import Annotated

from components.frontend.command import command
from components.frontend.contract import Between, DatasetInput, ModelInput, ModelOutput, StepResult


def choose_model(
    *,
    models: Annotated[list[ModelInput], Between(1, 8)],
    evaluation: DatasetInput,
    model: ModelOutput,
) -> StepResult:
    """Hand on the evaluation's student: the model that was named, or that ``val`` has chosen.

    Args:
        models: Bundles, one to eight; the student is among them.
        evaluation: Folder of the step evaluate.
        model: Folder to write: the student's bundle as it is.

    Raises:
        KineflowError: The evaluation is damaged, or its student is none of these.
    """
    import shutil

    from kineflow.models.card import load_card
    from kineflow.registry.measured import student_of
    from kineflow.storage.errors import KineflowError
    from kineflow.storage.files import atomic_folder

    student, bundles = student_of(evaluation), {load_card(bundle).name: bundle for bundle in models}
    if student not in bundles:
        raise KineflowError(
            f"the evaluation's student is {student!r}, and there are {', '.join(map(repr, sorted(bundles)))}",
            where=evaluation,
            remedy="set evaluation.student and evaluation.choose_among to some of these",
        )
    with atomic_folder(model) as partial:
        shutil.copytree(bundles[student], partial, dirs_exist_ok=True)
    return StepResult(summary=f"{student}, of {', '.join(sorted(bundles))}", tags={"chosen.model": student})


if __name__ == "__main__":
    command(choose_model)
