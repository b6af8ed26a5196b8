"""KFP front end of the probe_motion step."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def probe_motion(
    clips: dsl.Input[dsl.Dataset],
    flow: dsl.Input[dsl.Dataset],
    first: dsl.Input[dsl.Model],
    params: dict,
    seed: int,
    probes: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    second: dsl.Input[dsl.Model] = None,
    third: dsl.Input[dsl.Model] = None,
    fourth: dsl.Input[dsl.Model] = None,
    fifth: dsl.Input[dsl.Model] = None,
    sixth: dsl.Input[dsl.Model] = None,
) -> None:
    """Compare up to six networks by the optical flow that can be decoded from their features."""
    from components.frontend import run_in_kfp

    run_in_kfp(
        "probe_motion",
        inputs={
            "clips": clips,
            "flow": flow,
            "first": first,
            "second": second,
            "third": third,
            "fourth": fourth,
            "fifth": fifth,
            "sixth": sixth,
        },
        outputs={"probes": probes, "report": report},
        sections={"params": params},
        values={"seed": seed},
        metrics=metrics,
    )
