"""TSN (Wang et al. 2016): snippets from all over a video, seen in up to four ways, which vote.

::

    ingest ─ validate ─┬─ extract_flow ──────── flow ──────────┐
                       ├─ extract_flow, warped ─ warped ───────┤
                       ├──────────────────────── rgb ──────────┼─ evaluate ─ register (difference)
    pretrain_tsn ──────┴──────────────────────── difference ───┘

All streams start from one RGB network, by the cross-modality rule where the parameters say so. ``warped`` flow is what
is left of the motion without the camera's. The stream of RGB differences is the one that is registered: it sees motion,
and takes nothing but the video. A section ``fixmatch`` or ``mean_teacher`` trains the RGB stream once more, on
unlabelled clips too.
"""

from kfp import dsl

from components.frontend.kfp_components import evaluate, pretrain_tsn, register, train, validate
from pipelines.dag.fan_out import extract_flow, ingest
from pipelines.dag.optional import with_optional_sections
from pipelines.dag.peers import train_peers


@dsl.pipeline(name="tsn", description="Train the streams of a TSN, fuse them, and register the one of RGB differences.")
@with_optional_sections(["fixmatch"], ["mean_teacher"])
def tsn(
    seed: int,
    ingestion: dict,
    validation: dict,
    flow: dict,
    warped_flow: dict,
    network: dict,
    spatial: dict,
    difference: dict,
    temporal: dict,
    evaluation: dict,
    registration: dict,
    fixmatch: dict | None = None,
    mean_teacher: dict | None = None,
) -> None:
    """One parameter a section of ``params/tsn.yaml``."""
    clips = ingest(params=ingestion, seed=seed).outputs["clips"]
    checked = validate(clips=clips, params=validation)
    flow_set = extract_flow(clips=clips, params=flow, after=checked).outputs["flow"]
    warped_set = (
        extract_flow(clips=clips, params=warped_flow, after=checked)
        .set_display_name("extract-warped-flow")
        .outputs["flow"]
    )
    initial = pretrain_tsn(params=network, seed=seed).outputs

    streams = {
        name: train(clips=clips, initial=initial[name], params=settings, name=name, seed=seed)
        .set_display_name(name)
        .after(checked)
        .outputs["model"]
        for name, settings in (("rgb", spatial), ("difference", difference))
    } | {
        name: train(clips=clips, flow=read, initial=initial[name], params=temporal, name=name, seed=seed)
        .set_display_name(name)
        .outputs["model"]
        for name, read in (("flow", flow_set), ("warped", warped_set))
    }
    peers = train_peers(
        fixmatch, mean_teacher, clips=clips, initial=initial["rgb"], params=spatial, seed=seed, after=checked
    )
    scored = evaluate(
        clips=clips,
        flow=flow_set,
        warped=warped_set,
        models=[streams["rgb"], streams["difference"], streams["flow"], streams["warped"], *peers.values()],
        params=evaluation,
    )
    register(model=streams["difference"], evaluation=scored.outputs["evaluation"], params=registration)
