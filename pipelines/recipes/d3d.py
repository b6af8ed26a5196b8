"""D3D (Stroud et al. 2020): a flow network teaches an RGB network, which then needs no flow.

::

    ingest ─ validate ─ extract_flow ─┬─ teacher (flow) ─┬─ distilled (labelled clips) ─┐
                                      │                  └─ student (unlabelled too) ───┤
    pretrain ─────────────────────────┼─ plain (RGB) ───────────────────────────────────┼─ evaluate ─ choose_model
    pretrain_descriptor ──────────────┴─ describe ─ blend (linear) ─────────────────────┘             └─ register

The plain network and both students start from the same weights and take the same steps, so that what differs between
them is the teacher. The last line, the blend of :mod:`few_clips <pipelines.recipes.few_clips>`, is there where the
parameters have a section ``descriptor``, ``description`` or ``selection``: what a network has to beat. A section
``own_teacher`` names a model that teaches beside the flow network, of whatever input, length and size, or, where
``distillation.terms`` say so, in its place. Which model is registered, ``val`` decides (``evaluation.choose_among``).
Without unlabelled clips (``unlabelled_batch_size: 0``) ``distilled`` would be the student again, tensor by tensor, and
is left out.

Peers of the student, which learn from unlabelled clips in other ways, are trained beside it where they have a section,
from the same weights and in the same steps: ``fixmatch`` and ``mean_teacher`` without a teacher, and ``flow_labels``,
a distillation of its own, for pseudo-labels of the teacher.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from kfp import dsl

from components.frontend.kfp_components import (
    choose_model,
    describe,
    distill,
    evaluate,
    import_teacher,
    pretrain,
    pretrain_descriptor,
    register,
    train,
    train_blend,
    validate,
)
from pipelines.dag.fan_out import extract_flow, ingest
from pipelines.dag.optional import Where, with_optional_sections
from pipelines.dag.peers import train_peers


def _has_unlabelled(values: Mapping[str, Any]) -> bool:
    section = values.get("distillation")
    return not (isinstance(section, Mapping) and section.get("unlabelled_batch_size") == 0)


@dsl.pipeline(name="d3d", description="Distil a flow teacher into RGB students, and register the best.")
@with_optional_sections(
    ["descriptor", "description", "selection"], ["own_teacher"], ["fixmatch"], ["flow_labels"], ["mean_teacher"]
)
def d3d(
    seed: int,
    ingestion: dict,
    validation: dict,
    flow: dict,
    network: dict,
    teacher: dict,
    student: dict,
    distillation: dict,
    evaluation: dict,
    registration: dict,
    descriptor: dict | None = None,
    description: dict | None = None,
    selection: dict | None = None,
    own_teacher: dict | None = None,
    fixmatch: dict | None = None,
    flow_labels: dict | None = None,
    mean_teacher: dict | None = None,
    *,
    distilled: Annotated[
        bool, Where(_has_unlabelled, "with distillation.unlabelled_batch_size: 0 it would be the student again")
    ] = True,
) -> None:
    """One parameter a section of ``params.yaml``."""
    clips = ingest(params=ingestion, seed=seed).outputs["clips"]
    checked = validate(clips=clips, params=validation)
    flow_set = extract_flow(clips=clips, params=flow, after=checked).outputs["flow"]
    initial = pretrain(params=network, seed=seed).outputs

    taught_by = (
        train(clips=clips, flow=flow_set, initial=initial["flow"], params=teacher, name="teacher", seed=seed)
        .set_display_name("teacher")
        .outputs["model"]
    )
    plain = (
        train(clips=clips, initial=initial["rgb"], params=student, name="plain", seed=seed)
        .set_display_name("plain")
        .after(checked)
        .outputs["model"]
    )
    teachers = [taught_by]
    if own_teacher is not None:
        teachers.append(import_teacher(params=own_teacher).outputs["model"])
    learnt = [("distilled", distillation, False), ("student", distillation, True), ("flow_labels", flow_labels, True)]
    students = {
        name: distill(
            clips=clips,
            flow=flow_set,
            initial=initial["rgb"],
            teachers=teachers,
            params=student,
            distillation=section,
            name=name,
            use_unlabelled=use_unlabelled,
            seed=seed,
        )
        .set_display_name(name)
        .outputs["model"]
        for name, section, use_unlabelled in learnt
        if section is not None and (distilled or use_unlabelled)
    }
    peers = train_peers(
        fixmatch, mean_teacher, clips=clips, initial=initial["rgb"], params=student, seed=seed, after=checked
    )
    models = [taught_by, plain, *students.values(), *peers.values()]
    if descriptor is not None:
        network = pretrain_descriptor(params=descriptor).outputs["descriptor"]
        described = describe(clips=clips, flow=flow_set, descriptor=network, params=description).outputs["descriptions"]
        blend = train_blend(
            clips=clips, descriptions=described, descriptor=network, params=selection, name="blend", seed=seed
        ).set_display_name("blend")
        models.append(blend.outputs["model"])
    figures = evaluate(clips=clips, flow=flow_set, models=models, params=evaluation).outputs["evaluation"]
    winner = choose_model(models=models, evaluation=figures).outputs["model"]
    register(model=winner, evaluation=figures, params=registration)
