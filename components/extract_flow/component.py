"""KFP front end of the extract_flow step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def extract_flow(
    clips: dsl.Input[dsl.Dataset],
    params: dict,
    flow: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    shard: str = "0/1",
) -> None:
    """Extract the optical flow of every clip, or of those of one shard."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "extract_flow",
        inputs={"clips": clips},
        outputs={"flow": flow},
        sections={"params": params},
        values={"shard": shard},
        metrics=metrics,
    )
