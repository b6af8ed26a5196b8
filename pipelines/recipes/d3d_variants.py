"""D3D's ablations and motion probes (Stroud et al. 2020, §3.1 and §4): what else could have taught the RGB network.

::

    ingest ─ validate ─ extract_flow ─┬─ teacher (flow) ─┬─ student ───────┐
                                      │                  ├─ mars ──────────┤
                                      │                  ├─ distil_only ───┤
                                      │                  └─ learnt_flow ───┤
                                      ├─ auxiliary ────────────────────────┼─ evaluate, evaluate-flow ─ register
    pretrain ─────────────────────────┴─ plain (RGB) ─── reverse (flow) ───┴─ probe_motion

============  ======  ================================================================================================
student       RGB     D3D: labels, and the teacher's logits
mars          RGB     the teacher's pooled features in their place (MARS, Crasto et al. 2019)
distil_only   RGB     no labels but those that the teacher has learnt
auxiliary     RGB     no teacher: the network also learns to tell the flow
reverse       flow    the plain RGB network teaches a flow network
learnt_flow   RGB     the teacher behind a flow estimator, and both learn from the labels
============  ======  ================================================================================================

All take the same steps on the same clips, unlabelled ones where they can. Only the student is registered. A section
``fixmatch`` or ``mean_teacher`` trains a network that learns from unlabelled clips by itself.
"""

from kfp import dsl

from components.frontend.kfp_components import (
    distill,
    evaluate,
    pretrain,
    pretrain_learnt_flow,
    probe_motion,
    register,
    train,
    train_auxiliary,
    validate,
)
from pipelines.dag.fan_out import extract_flow, ingest
from pipelines.dag.optional import with_optional_sections
from pipelines.dag.peers import train_peers


@dsl.pipeline(name="d3d-variants", description="Train D3D's variants, probe their features for motion, compare them.")
@with_optional_sections(["fixmatch"], ["mean_teacher"])
def d3d_variants(
    seed: int,
    ingestion: dict,
    validation: dict,
    flow: dict,
    network: dict,
    teacher: dict,
    student: dict,
    distillation: dict,
    mars: dict,
    distil_only: dict,
    reverse: dict,
    auxiliary: dict,
    estimator: dict,
    learnt_flow: dict,
    probes: dict,
    evaluation: dict,
    flow_evaluation: dict,
    registration: dict,
    fixmatch: dict | None = None,
    mean_teacher: dict | None = None,
) -> None:
    """One parameter a section of ``params/d3d_variants.yaml``."""
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
    models = {
        name: distill(
            clips=clips,
            flow=flow_set,
            initial=initial[modality],
            teachers=[source],
            params=settings,
            distillation=distillation_settings,
            name=name,
            use_unlabelled=True,
            seed=seed,
        )
        .set_display_name(name)
        .outputs["model"]
        for name, modality, source, settings, distillation_settings in (
            ("student", "rgb", taught_by, student, distillation),
            ("mars", "rgb", taught_by, student, mars),
            ("distil_only", "rgb", taught_by, student, distil_only),
            ("reverse", "flow", plain, teacher, reverse),
        )
    }
    models["auxiliary"] = (
        train_auxiliary(
            clips=clips,
            flow=flow_set,
            initial=initial["rgb"],
            params=student,
            auxiliary=auxiliary,
            name="auxiliary",
            seed=seed,
        )
        .set_display_name("auxiliary")
        .outputs["model"]
    )
    with_estimator = pretrain_learnt_flow(
        clips=clips, flow=flow_set, stream=taught_by, params=estimator, name="initial-learnt-flow", seed=seed
    ).outputs["model"]
    models["learnt_flow"] = (
        train(clips=clips, initial=with_estimator, params=learnt_flow, name="learnt_flow", seed=seed)
        .set_display_name("learnt_flow")
        .outputs["model"]
    )

    peers = train_peers(
        fixmatch, mean_teacher, clips=clips, initial=initial["rgb"], params=student, seed=seed, after=checked
    )
    judged = [plain, models["student"], models["mars"], models["distil_only"], models["auxiliary"], taught_by]
    scored = evaluate(
        clips=clips,
        flow=flow_set,
        models=[*judged, *peers.values()],
        params=evaluation,
    )
    evaluate(
        clips=clips,
        flow=flow_set,
        models=[taught_by, models["reverse"], models["learnt_flow"], plain, models["student"]],
        params=flow_evaluation,
    ).set_display_name("evaluate-flow")
    probe_motion(
        clips=clips,
        flow=flow_set,
        models=[taught_by, plain, models["student"], models["mars"], models["distil_only"], models["auxiliary"]],
        params=probes,
        seed=seed,
    )
    register(model=models["student"], evaluation=scored.outputs["evaluation"], params=registration)
