"""KFP front end of the pretrain step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pretrain(
    params: dict,
    seed: int,
    rgb: dsl.Output[dsl.Model],
    flow: dsl.Output[dsl.Model],
) -> None:
    """Make the initial weights of each modality."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "pretrain",
        inputs={},
        outputs={"rgb": rgb, "flow": flow},
        sections={"params": params},
        values={"seed": seed},
    )
