"""KFP front end of the merge_flow step.

Kubeflow hands a list of artifacts over from its own loops only, which cannot be retried and do not run within an exit
handler (kubeflow/pipelines#12389, #12390). So every shard is an input with a name.
"""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def merge_flow(
    shard_0: dsl.Input[dsl.Dataset],
    shard_1: dsl.Input[dsl.Dataset],
    flow: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    shard_2: dsl.Input[dsl.Dataset] = None,
    shard_3: dsl.Input[dsl.Dataset] = None,
    shard_4: dsl.Input[dsl.Dataset] = None,
    shard_5: dsl.Input[dsl.Dataset] = None,
    shard_6: dsl.Input[dsl.Dataset] = None,
    shard_7: dsl.Input[dsl.Dataset] = None,
    shard_8: dsl.Input[dsl.Dataset] = None,
    shard_9: dsl.Input[dsl.Dataset] = None,
    shard_10: dsl.Input[dsl.Dataset] = None,
    shard_11: dsl.Input[dsl.Dataset] = None,
    shard_12: dsl.Input[dsl.Dataset] = None,
    shard_13: dsl.Input[dsl.Dataset] = None,
    shard_14: dsl.Input[dsl.Dataset] = None,
    shard_15: dsl.Input[dsl.Dataset] = None,
) -> None:
    """Join the flow sets of all shards."""
    from components.frontend import run_in_kfp
    from components.merge_flow.gathered import gathered

    shards = [
        shard_0, shard_1, shard_2, shard_3, shard_4, shard_5, shard_6, shard_7,
        shard_8, shard_9, shard_10, shard_11, shard_12, shard_13, shard_14, shard_15,
    ]  # fmt: skip
    with gathered([shard for shard in shards if shard], beside=flow) as together:
        run_in_kfp(
            "merge_flow",
            inputs={"shards": together},
            outputs={"flow": flow},
            sections={},
            metrics=metrics,
        )
