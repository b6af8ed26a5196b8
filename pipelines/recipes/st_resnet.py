"""ST-ResNet (Feichtenhofer et al. 2016): a stream of motion speaks into the residuals of a stream of appearance.

::

    ingest ─ validate ─── extract_flow ─┬──────────────────┬──────────────────┐
                     │                  │                  │                  │
    pretrain_tsn ────┼──── appearance ──┼─ join ─ st_resnet ─ join* ─ st_resnet_star ─ evaluate ─ register
                     └──── motion ──────┘

Training has the paper's three steps: two ResNet-50 by themselves, one for frames and one for stacks of flow; ST-ResNet,
the two joined, with taps over time; ST-ResNet*, that with a pool over time, on longer clips. Each stream is a TSN of
one segment, which is a network for images; two of the bundles that ``pretrain_tsn`` writes are used. All four networks
are evaluated, and the late fusion of the two streams beside them.
"""

from kfp import dsl

from components.frontend.kfp_components import (
    evaluate,
    pretrain_st_resnet,
    pretrain_tsn,
    register,
    train,
    validate,
)
from pipelines.dag.fan_out import extract_flow, ingest


@dsl.pipeline(
    name="st-resnet", description="Train two streams, join them to ST-ResNet, pool that over time, and register it."
)
def st_resnet(
    seed: int,
    ingestion: dict,
    validation: dict,
    flow: dict,
    network: dict,
    appearance: dict,
    motion: dict,
    join: dict,
    st_resnet: dict,
    join_star: dict,
    st_resnet_star: dict,
    evaluation: dict,
    registration: dict,
) -> None:
    """One parameter a section of ``params/st_resnet.yaml``."""
    clips = ingest(params=ingestion, seed=seed).outputs["clips"]
    checked = validate(clips=clips, params=validation)
    flow_set = extract_flow(clips=clips, params=flow, after=checked).outputs["flow"]
    initial = pretrain_tsn(params=network, seed=seed).outputs

    seeing = (
        train(clips=clips, initial=initial["rgb"], params=appearance, name="appearance", seed=seed)
        .set_display_name("appearance")
        .after(checked)
        .outputs["model"]
    )
    moving = (
        train(clips=clips, flow=flow_set, initial=initial["flow"], params=motion, name="motion", seed=seed)
        .set_display_name("motion")
        .outputs["model"]
    )
    joined = pretrain_st_resnet(appearance=seeing, motion=moving, params=join, seed=seed).set_display_name("join")
    before = (
        train(
            clips=clips, flow=flow_set, initial=joined.outputs["initial"], params=st_resnet, name="st_resnet", seed=seed
        )
        .set_display_name("st_resnet")
        .outputs["model"]
    )
    pooled = pretrain_st_resnet(before=before, params=join_star, seed=seed).set_display_name("join-star")
    star = (
        train(
            clips=clips,
            flow=flow_set,
            initial=pooled.outputs["initial"],
            params=st_resnet_star,
            name="st_resnet_star",
            seed=seed,
        )
        .set_display_name("st_resnet_star")
        .outputs["model"]
    )
    scored = evaluate(clips=clips, flow=flow_set, models=[seeing, moving, before, star], params=evaluation)
    register(model=star, evaluation=scored.outputs["evaluation"], params=registration)
