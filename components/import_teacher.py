"""A model from elsewhere to a bundle of this run, for students to learn from."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import ModelOutput, StepResult
from kineflow.tracking.tracker import NULL_TRACKER, Tracker
from kineflow.training.teacher_settings import OwnTeacherSettings


def import_teacher(*, params: OwnTeacherSettings, tracker: Tracker = NULL_TRACKER, model: ModelOutput) -> StepResult:
    """Bring a model into a run, under a name of its own; its weights stay as they are.

    Args:
        params: See :class:`OwnTeacherSettings`.
        tracker: Told where the model came from.
        model: Folder to write: the bundle.

    Raises:
        KineflowError: There is no such model, or its weights are others than those expected.
    """
    import dataclasses

    from kineflow.models.bundle import load_bundle, save_bundle, weights_digest
    from kineflow.registry.named_model import exact_version, named_bundle
    from kineflow.serving.stored_files import MODEL_PREFIX, find_version
    from kineflow.storage.credentials import mask_uri
    from kineflow.storage.errors import KineflowError

    location = params.bundle
    if location.startswith(MODEL_PREFIX):
        version = find_version(exact_version(location))
        location = f"{MODEL_PREFIX}{version.name}/{version.number}"
    with named_bundle(location) as bundle:
        digest = weights_digest(bundle)
        if params.sha256 and params.sha256.lower() != digest:
            raise KineflowError(
                f"weights of SHA-256 {digest}, not {params.sha256.lower()}",
                where=mask_uri(location),
                remedy="name the model that was meant, or correct sha256",
            )
        network, card = load_bundle(bundle)
    origin = {"imported_from": mask_uri(location), "imported_name": card.name}
    named = dataclasses.replace(card, name=params.name, lineage={**card.lineage, **origin})
    save_bundle(model, network, named)
    tracker.set_tags({**origin, "weights_sha256": digest})
    seen = card.preprocessing
    return StepResult(
        metrics={"parameters": float(sum(each.numel() for each in network.parameters()))},
        summary=f"{params.name}: {card.architecture} {card.name!r} of {seen.frames} {seen.modality} frames, "
        f"stride {seen.stride_frames}, {seen.crop}x{seen.crop} px, {len(card.classes)} classes",
        tags=origin,
    )


if __name__ == "__main__":
    command(import_teacher)
