"""A trained flow stream to initial weights of a network that finds its own flow."""

from __future__ import annotations

from components.contract import Input, Output, StepResult
from components.pretrain_learnt_flow.params import LearntFlowParams
from kineflow.tracking.tracker import NULL_TRACKER, Tracker


def pretrain_learnt_flow(
    *,
    clips: Input,
    flow: Input,
    stream: Input,
    params: LearntFlowParams,
    name: str,
    seed: int = 0,
    tracker: Tracker = NULL_TRACKER,  # noqa: ARG001  the estimator's steps are few, and its last error is a metric
    model: Output,
) -> StepResult:
    """Put a flow estimator (PWC-Net) in front of a trained flow stream, for the train step to tune both by labels.

    The network takes RGB. Its estimator's weights are loaded, or learnt here from the flow set.

    Args:
        clips: Clip set.
        flow: Flow set; gives the bound of the stream's flow, and teaches the estimator where it takes steps.
        stream: Bundle of a trained flow stream, S3D or S3D-G.
        params: Where the estimator comes from.
        name: Of the model.
        seed: Decides the estimator's weights, and the order of the pairs of frames.
        tracker: Unused.
        model: Folder to write: the bundle.
    """
    from kineflow.models.bundle import save_bundle
    from kineflow.training.outputs import load_data
    from kineflow.training.variant_jobs import start_learnt_flow

    data = load_data(clips, flow)
    assert data.flow_set is not None
    network, card, error_px = start_learnt_flow(data.clip_set, data.flow_set, stream, params, name=name, seed=seed)
    save_bundle(model, network, card)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    metrics = {"parameters": float(parameters)} | ({} if error_px is None else {"end_point_error_px": error_px})
    learnt = "" if error_px is None else f"; its flow errs by {error_px:.3f} px"
    return StepResult(metrics=metrics, summary=f"estimator {card.lineage['estimator']}{learnt}")
