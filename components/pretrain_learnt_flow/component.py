"""KFP front end of the pretrain_learnt_flow step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pretrain_learnt_flow(
    clips: dsl.Input[dsl.Dataset],
    flow: dsl.Input[dsl.Dataset],
    stream: dsl.Input[dsl.Model],
    params: dict,
    name: str,
    seed: int,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Put a flow estimator in front of a trained flow stream."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "pretrain_learnt_flow",
        inputs={"clips": clips, "flow": flow, "stream": stream},
        outputs={"model": model},
        sections={"params": params},
        values={"name": name, "seed": seed},
        metrics=metrics,
    )
