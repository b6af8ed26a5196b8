"""KFP front end of the pretrain_st_resnet step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pretrain_st_resnet(
    params: dict,
    seed: int,
    initial: dsl.Output[dsl.Model],
    appearance: dsl.Input[dsl.Model] = None,
    motion: dsl.Input[dsl.Model] = None,
    before: dsl.Input[dsl.Model] = None,
) -> None:
    """Join two trained streams, or give a trained ST-ResNet its pool over time."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "pretrain_st_resnet",
        inputs={"appearance": appearance, "motion": motion, "before": before},
        outputs={"initial": initial},
        sections={"params": params},
        values={"seed": seed},
    )
