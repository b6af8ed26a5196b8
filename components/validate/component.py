"""KFP front end of the validate step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate(
    clips: dsl.Input[dsl.Dataset],
    params: dict,
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Stop the run when the clip set would spoil it."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "validate",
        inputs={"clips": clips},
        outputs={"report": report},
        sections={"params": params},
        metrics=metrics,
    )
