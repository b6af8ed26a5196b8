"""KFP front end of the train step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    clips: dsl.Input[dsl.Dataset],
    initial: dsl.Input[dsl.Model],
    params: dict,
    name: str,
    seed: int,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    flow: dsl.Input[dsl.Dataset] = None,
) -> None:
    """Train one stream on the labelled clips."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "train",
        inputs={"clips": clips, "flow": flow, "initial": initial},
        outputs={"model": model},
        sections={"params": params},
        values={"name": name, "seed": seed},
        metrics=metrics,
    )
