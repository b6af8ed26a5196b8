"""D3D (Stroud et al. 2020): a flow network teaches an RGB network, which then needs no flow.

::

    ingest ─ validate ─ extract_flow ─┬─ teacher (flow) ─┬─ distilled (labelled clips) ─┐
                                      │                  └─ student (unlabelled too) ───┤
    pretrain ─────────────────────────┴─ plain (RGB) ───────────────────────────────────┴─ evaluate ─ choose_model
                                                                                                      └─ register

The plain network and both students start from the same weights and take the same steps, so that what differs between
them is the teacher. Which of them is registered, ``val`` decides (``evaluation.choose_among``).
"""

from kfp import dsl

from components.frontend.kfp_components import (
    choose_model,
    distill,
    evaluate,
    ingest,
    pretrain,
    register,
    train,
    validate,
)
from pipelines.dag.fan_out import extract_flow


@dsl.pipeline(name="d3d", description="Distil a flow teacher into RGB students, and register the best.")
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
    students = {
        name: distill(
            clips=clips,
            flow=flow_set,
            initial=initial["rgb"],
            teacher=taught_by,
            params=student,
            distillation=distillation,
            name=name,
            use_unlabelled=use_unlabelled,
            seed=seed,
        )
        .set_display_name(name)
        .outputs["model"]
        for name, use_unlabelled in (("distilled", False), ("student", True))
    }
    models = [taught_by, plain, students["distilled"], students["student"]]
    figures = evaluate(clips=clips, flow=flow_set, models=models, params=evaluation).outputs["evaluation"]
    winner = choose_model(models=models, evaluation=figures).outputs["model"]
    register(model=winner, evaluation=figures, params=registration)
