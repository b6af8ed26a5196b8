"""KFP front end of the choose_backbone step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def choose_backbone(
    rgb: dsl.Input[dsl.Model],
    difference: dsl.Input[dsl.Model],
    flow: dsl.Input[dsl.Model],
    params: dict,
    backbone: dsl.Output[dsl.Model],
) -> None:
    """Choose the stream whose network looks at the frames."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "choose_backbone",
        inputs={"rgb": rgb, "difference": difference, "flow": flow},
        outputs={"backbone": backbone},
        sections={"params": params},
    )
