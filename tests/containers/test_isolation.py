"""What a step in a container can do, tried from inside."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.containers


def test_a_step_has_no_rights_and_cannot_change_data_or_system(
    image: str, run_package: Callable[..., Any], tmp_path: Path
) -> None:
    from kfp import dsl

    from tests.containers.small_pipelines import look_around

    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)  # it is the mount that protects them
    (data / "clip").write_text("frames")
    (data / "clip").chmod(0o666)

    @dsl.pipeline(name="looking")
    def looking() -> None:
        look_around(data=str(data))

    root, failures = run_package(looking, [data])
    assert failures == []
    (written,) = root.glob("*/look-around/executor_output.json")
    seen = json.loads(written.read_text())["parameterValues"]["Output"]
    assert seen["uid"] == str(os.getuid() or 10001)
    assert int(seen["capabilities"], 16) == 0
    assert seen["new_privileges"] == "1"
    assert seen["read"] == "frames"
    refusals = {place: seen[place] for place in ("data", "beside", "system", "root", "temporary", "network")}
    assert refusals == {
        "data": "EROFS", "beside": "EROFS", "system": "EROFS", "root": "EROFS", "temporary": "written",
        "network": "ENETUNREACH",
    }  # fmt: skip
    assert (data / "clip").read_text() == "frames"
