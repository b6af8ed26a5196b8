"""KFP front end of the distill step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def distill(
    clips: dsl.Input[dsl.Dataset],
    flow: dsl.Input[dsl.Dataset],
    initial: dsl.Input[dsl.Model],
    teacher: dsl.Input[dsl.Model],
    params: dict,
    distillation: dict,
    name: str,
    use_unlabelled: bool,
    seed: int,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Train a student that also learns from a teacher of another modality."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "distill",
        inputs={"clips": clips, "flow": flow, "initial": initial, "teacher": teacher},
        outputs={"model": model},
        sections={"params": params, "distillation": distillation},
        values={"name": name, "use_unlabelled": use_unlabelled, "seed": seed},
        metrics=metrics,
    )
