"""VideoLSTM (Li et al. 2018): a ConvLSTM on frames, told where to look by a ConvLSTM on flow.

::

    ingest ─ validate ─┬──────────────── appearance_net ─ features ─┬─ appearance ──────────┬─ videolstm ─┬─ evaluate
                       │                                            └───────────────────────┤             └─ localise
                       └─ extract_flow ─ motion_net ───── features ─┬─ motion_conv_lstm ────┘
    pretrain_tsn ─────── (both nets)                                └─ motion

Two networks for single images, one for frames and one for single flow frames, are fine-tuned first and then only look.
What they saw of every frame is computed once, and four recurrent networks learn from it: ``motion_conv_lstm`` (ConvLSTM
on flow) and ``appearance`` (ConvALSTM on frames), which are the parents that ``videolstm`` starts from, and ``motion``
(ConvALSTM on flow), which is its partner in the two-stream sum. ``localise`` finds the actors by attention alone.
VideoLSTM is registered: it takes frames and their flow.
"""

from kfp import dsl

from components.frontend.kfp_components import (
    evaluate,
    extract_features,
    localise,
    pretrain_tsn,
    register,
    train,
    train_recurrent,
    validate,
)
from pipelines.dag.fan_out import extract_flow, ingest


@dsl.pipeline(
    name="videolstm", description="Train VideoLSTM and its parents, fuse, localise by attention, register it."
)
def videolstm(
    seed: int,
    ingestion: dict,
    validation: dict,
    flow: dict,
    network: dict,
    spatial: dict,
    temporal: dict,
    features: dict,
    appearance: dict,
    motion_conv_lstm: dict,
    motion: dict,
    attending: dict,
    evaluation: dict,
    localisation: dict,
    registration: dict,
) -> None:
    """One parameter a section of ``params/videolstm.yaml``; ``attending`` is VideoLSTM's own."""
    clips = ingest(params=ingestion, seed=seed).outputs["clips"]
    checked = validate(clips=clips, params=validation)
    flow_set = extract_flow(clips=clips, params=flow, after=checked).outputs["flow"]
    initial = pretrain_tsn(params=network, seed=seed).outputs

    frame_net = (
        train(clips=clips, initial=initial["rgb"], params=spatial, name="appearance_net", seed=seed)
        .set_display_name("appearance_net")
        .after(checked)
        .outputs["model"]
    )
    flow_net = (
        train(clips=clips, flow=flow_set, initial=initial["flow"], params=temporal, name="motion_net", seed=seed)
        .set_display_name("motion_net")
        .outputs["model"]
    )
    of_frames = (
        extract_features(clips=clips, backbone=frame_net, params=features)
        .set_display_name("appearance-features")
        .outputs["features"]
    )
    of_flow = (
        extract_features(clips=clips, flow=flow_set, backbone=flow_net, params=features)
        .set_display_name("motion-features")
        .outputs["features"]
    )

    parents = {
        name: train_recurrent(clips=clips, features=extracted, backbone=net, params=settings, name=name, seed=seed)
        .set_display_name(name)
        .outputs["model"]
        for name, extracted, net, settings in (
            ("appearance", of_frames, frame_net, appearance),
            ("motion_conv_lstm", of_flow, flow_net, motion_conv_lstm),
            ("motion", of_flow, flow_net, motion),
        )
    }
    both = (
        train_recurrent(
            clips=clips,
            features=of_frames,
            backbone=frame_net,
            motion_features=of_flow,
            motion_backbone=flow_net,
            appearance_parent=parents["appearance"],
            motion_parent=parents["motion_conv_lstm"],
            params=attending,
            name="videolstm",
            seed=seed,
        )
        .set_display_name("videolstm")
        .outputs["model"]
    )
    scored = evaluate(
        clips=clips,
        flow=flow_set,
        models=[frame_net, flow_net, parents["appearance"], parents["motion_conv_lstm"], parents["motion"], both],
        params=evaluation,
    )
    localise(
        clips=clips,
        flow=flow_set,
        models=[both, parents["appearance"], parents["motion"]],
        params=localisation,
    )
    register(model=both, evaluation=scored.outputs["evaluation"], params=registration)
