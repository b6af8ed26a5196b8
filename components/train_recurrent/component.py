"""KFP front end of the train_recurrent step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_recurrent(
    clips: dsl.Input[dsl.Dataset],
    features: dsl.Input[dsl.Dataset],
    backbone: dsl.Input[dsl.Model],
    params: dict,
    name: str,
    seed: int,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    motion_features: dsl.Input[dsl.Dataset] = None,
    motion_backbone: dsl.Input[dsl.Model] = None,
    appearance_parent: dsl.Input[dsl.Model] = None,
    motion_parent: dsl.Input[dsl.Model] = None,
) -> None:
    """Train a recurrent network on stored features."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "train_recurrent",
        inputs={
            "clips": clips,
            "features": features,
            "backbone": backbone,
            "motion_features": motion_features,
            "motion_backbone": motion_backbone,
            "appearance_parent": appearance_parent,
            "motion_parent": motion_parent,
        },
        outputs={"model": model},
        sections={"params": params},
        values={"name": name, "seed": seed},
        metrics=metrics,
    )
