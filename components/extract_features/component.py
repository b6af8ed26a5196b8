"""KFP front end of the extract_features step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def extract_features(
    clips: dsl.Input[dsl.Dataset],
    backbone: dsl.Input[dsl.Model],
    params: dict,
    features: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    flow: dsl.Input[dsl.Dataset] = None,
) -> None:
    """Compute what a frozen backbone sees of every frame."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "extract_features",
        inputs={"clips": clips, "flow": flow, "backbone": backbone},
        outputs={"features": features},
        sections={"params": params},
        metrics=metrics,
    )
