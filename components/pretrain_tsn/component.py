"""KFP front end of the pretrain_tsn step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def pretrain_tsn(
    params: dict,
    seed: int,
    rgb: dsl.Output[dsl.Model],
    difference: dsl.Output[dsl.Model],
    flow: dsl.Output[dsl.Model],
    warped: dsl.Output[dsl.Model],
) -> None:
    """Make the initial weights of each stream."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "pretrain_tsn",
        inputs={},
        outputs={"rgb": rgb, "difference": difference, "flow": flow, "warped": warped},
        sections={"params": params},
        values={"seed": seed},
    )
