"""Register a student: model and evaluation in, a version in the registry out."""

from __future__ import annotations

import dataclasses
import json

from components.frontend.command import command
from components.frontend.contract import DatasetInput, FileOutput, ModelInput, StepResult
from kineflow.registry.registration_settings import RegistrationSettings
from kineflow.storage.errors import KineflowError
from kineflow.tracking.registration_tags import GATE_TAG, MODEL_TAG, VERSION_TAG
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def register(
    *,
    model: ModelInput,
    evaluation: DatasetInput,
    params: RegistrationSettings,
    tracker: Tracker = NULL_TRACKER,
    registration: FileOutput,
) -> StepResult:
    """Register a model with its evaluation and its lineage.

    It becomes the new candidate. The same weights with the same evaluation data give the same version. It is held
    against the champion by the gate, which is said, but nothing is promoted: that is ``kineflow promote NAME``. What is
    set here is kept with the registered model, for all of its versions, and is what promoting asks for outside of the
    project.

    Args:
        model: Bundle of the student.
        evaluation: Folder of the step evaluate, in which the student has figures.
        params: Name, and the gate of a later promotion.
        tracker: The model belongs to its run.
        registration: JSON file: name, version, model_uri, weights_sha256, data_version, metrics, store; or name and
            ``refused``, the reasons why nothing was registered.
    """
    from kineflow.models.card import load_card
    from kineflow.registry.exports import attach_exports, exported
    from kineflow.registry.measured import read_evaluation, tested_as
    from kineflow.registry.outcomes import outcomes_of
    from kineflow.registry.page_of_version import keep_page
    from kineflow.registry.policy import not_above
    from kineflow.registry.registration import register_student
    from kineflow.storage.files import atomic_file

    card = load_card(model)
    measured = read_evaluation(evaluation, card.name)
    if params.above_baselines and (reasons := not_above(measured)):
        with atomic_file(registration) as partial:
            partial.write_text(json.dumps({"name": params.name, "refused": reasons}, indent=1) + "\n", encoding="utf-8")
        return StepResult(
            summary="\n".join([f"nothing is registered as {params.name}:", *(f"  ✗ {reason}" for reason in reasons)])
        )
    with exported(model, params.export, tested_as(measured)) as exports:  # before anything is registered
        registered = register_student(
            model,
            name=params.name,
            evaluation=measured,
            outcomes=outcomes_of(evaluation, card.name),
            gate=params.gate,
            run_id=getattr(tracker, "run_id", None),
            tags=params.tags,
        )
        attach_exports(registered.name, registered.version, exports)
    keep_page(
        registered.name,
        registered.version,
        card=card,
        measured=measured,
        evaluation=evaluation,
        intended_use=params.intended_use,
        tracker=tracker,
    )
    content = dataclasses.asdict(registered) | {"model_uri": registered.model_uri}
    with atomic_file(registration) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    age = "new" if registered.created else "registered before"
    gate = _said_by_the_gate(params, registered.version)
    return StepResult(
        metrics=registered.metrics,
        summary=f"{params.name} version {registered.version} ({age}) is the candidate; {gate}",
        tags={MODEL_TAG: params.name, VERSION_TAG: registered.version, GATE_TAG: gate},
    )


def _said_by_the_gate(params: RegistrationSettings, version: str) -> str:
    from kineflow.registry.promotion import preview

    try:
        decision = preview(params.name, version, params.gate)
    except KineflowError as error:  # of the champion: the candidate is registered all the same
        return f"the gate cannot compare it: {error.problem}"
    word = "the gate holds" if decision.allowed else "the gate refuses it"
    return "\n".join([f"{word}:", *(f"  {reason}" for reason in decision.reasons)])


if __name__ == "__main__":
    command(register)
