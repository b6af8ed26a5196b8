"""A trained flow stream to initial weights of a network that finds its own flow."""

from __future__ import annotations

from components.frontend.command import command
from components.frontend.contract import DatasetInput, MeasuredResult, ModelInput, ModelOutput, StepResult
from kineflow.training.variant_settings import LearntFlowSettings


def pretrain_learnt_flow(
    *,
    clips: DatasetInput,
    flow: DatasetInput,
    stream: ModelInput,
    params: LearntFlowSettings,
    name: str,
    seed: int = 0,
    model: ModelOutput,
) -> MeasuredResult:
    """Put a flow estimator in front of a trained flow stream.

    The step train then tunes both by labels. The network takes RGB. Its estimator is PWC-Net, whose weights
    are loaded, or learnt here from the flow set.

    Args:
        clips: Clip set.
        flow: Flow set; gives the bound of the stream's flow, and teaches the estimator where it takes steps.
        stream: Bundle of a trained flow stream, S3D or S3D-G.
        params: Where the estimator comes from.
        name: Of the model.
        seed: Decides the estimator's weights, and the order of the pairs of frames.
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


if __name__ == "__main__":
    command(pretrain_learnt_flow)
