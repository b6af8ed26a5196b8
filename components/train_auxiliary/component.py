"""KFP front end of the train_auxiliary step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_auxiliary(
    clips: dsl.Input[dsl.Dataset],
    flow: dsl.Input[dsl.Dataset],
    initial: dsl.Input[dsl.Model],
    params: dict,
    auxiliary: dict,
    name: str,
    seed: int,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train a student that also learns to tell the flow."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "train_auxiliary",
        inputs={"clips": clips, "flow": flow, "initial": initial},
        outputs={"model": model},
        sections={"params": params, "auxiliary": auxiliary},
        values={"name": name, "seed": seed},
        metrics=metrics,
    )
