"""What KFP's local runner prints, and what of it a user sees."""

import io

from pipelines.engines.kfp_output import OnlySteps

PRINTED = """\
--------------------------------------------------------------------------------
16:56:20.594 - INFO - Executing task \x1b[96m'train-2'\x1b[0m
16:56:20.594 - INFO - Streamed logs:

    [KFP Executor 2026-11-22 16:56:20,671 INFO]: Looking for component `train` in `/tmp/x.py`
    [KFP Executor 2026-11-22 16:56:20,671 INFO]: Got executor_input:
    {
        "inputs": {
            "classes": [
                "a"
            ]
        }
    }
    [KFP Executor 2026-11-22 16:56:22,610 INFO]: step 1/2
    error: clips: no clip
      → add some
    [KFP Executor 2026-11-22 16:56:22,611 INFO]: Wrote executor output file to /tmp/y.json.

16:56:23.299 - INFO - Task \x1b[96m'train-2'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
16:56:23.299 - INFO - Task \x1b[96m'train-2'\x1b[0m outputs:
    model: Model( name='model',
                  uri='/tmp/model' )
"""


def test_only_headings_and_what_steps_say_pass() -> None:
    written = io.StringIO()
    filtered = OnlySteps(written, {"train-2": "plain"})
    for start in range(0, len(PRINTED), 7):  # in pieces, as print does
        filtered.write(PRINTED[start : start + 7])
    assert written.getvalue() == "\n── plain\nstep 1/2\nerror: clips: no clip\n  → add some\n"
