"""KFP's Docker runner takes many failures for successes; a run must end at each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.containers

RUNS = 20


def test_a_failing_step_fails_the_run_every_time_and_nothing_comes_after_it(
    image: str, run_package: Callable[..., Any]
) -> None:
    from tests.containers.small_pipelines import failing

    for number in range(RUNS):
        root, failures = run_package(failing, [], number)
        (task, missing), stopped = failures
        assert task == "fails"
        assert missing == ["executor_output.json"]
        assert "about to fail" in stopped.last_lines
        assert not list(root.glob("*/comes-after")), f"run {number} went on"
