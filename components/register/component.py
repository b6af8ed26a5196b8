"""KFP front end of the register step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Dataset],
    params: dict,
    registration: dsl.Output[dsl.Artifact],
) -> None:
    """Register a model with its evaluation and its lineage."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "register",
        inputs={"model": model, "evaluation": evaluation},
        outputs={"registration": registration},
        sections={"params": params},
    )
