"""ALSTM (Sharma et al. 2016): a recurrent network decides, frame by frame, where in the picture to look.

::

                   ingest ─ validate ─ extract_flow ─┐               ┌─ attention ─┐
                                                     │               ├─ average ───┤
    pretrain_tsn ─ choose_backbone ──────────────────┴─ extract_     ├─ max ───────┼─ evaluate ─ register (attention)
                                                        features ────┼─ cube ──────┤
                                                                     └─ penalised ─┘

The backbone is never trained here: its weights are published ones, in the demo random ones. So what it sees of every
frame is computed once, and all five networks read that. ``average`` and ``max`` are the network ``attention`` with
pooling in place of attention, ``cube`` a regression without memory, and ``penalised`` is told to look everywhere.

The paper looks at RGB frames. ``backbone.stream`` chooses another stream, and with RGB ``flow.splits: []`` leaves the
flow out. The demo looks at flow, because its classes differ in nothing else.
"""

from kfp import dsl

from components.frontend.kfp_components import (
    choose_backbone,
    evaluate,
    extract_features,
    pretrain_tsn,
    register,
    train_recurrent,
    validate,
)
from pipelines.dag.fan_out import extract_flow, ingest


@dsl.pipeline(name="alstm", description="Train ALSTM and its baselines on features of a frozen backbone; register it.")
def alstm(
    seed: int,
    ingestion: dict,
    validation: dict,
    flow: dict,
    network: dict,
    backbone: dict,
    features: dict,
    attention: dict,
    average: dict,
    max: dict,
    cube: dict,
    penalised: dict,
    evaluation: dict,
    registration: dict,
) -> None:
    """One parameter a section of ``params/alstm.yaml``."""
    clips = ingest(params=ingestion, seed=seed).outputs["clips"]
    checked = validate(clips=clips, params=validation)
    flow_set = extract_flow(clips=clips, params=flow, after=checked).outputs["flow"]
    initial = pretrain_tsn(params=network, seed=seed).outputs
    frozen = choose_backbone(
        rgb=initial["rgb"], difference=initial["difference"], flow=initial["flow"], params=backbone
    ).outputs["backbone"]
    extracted = extract_features(clips=clips, flow=flow_set, backbone=frozen, params=features).outputs["features"]

    models = {
        name: train_recurrent(clips=clips, features=extracted, backbone=frozen, params=settings, name=name, seed=seed)
        .set_display_name(name)
        .outputs["model"]
        for name, settings in (
            ("attention", attention),
            ("average", average),
            ("max", max),
            ("cube", cube),
            ("penalised", penalised),
        )
    }
    scored = evaluate(
        clips=clips,
        flow=flow_set,
        models=[models["attention"], models["average"], models["max"], models["cube"], models["penalised"]],
        params=evaluation,
    )
    register(model=models["attention"], evaluation=scored.outputs["evaluation"], params=registration)
