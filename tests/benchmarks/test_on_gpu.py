"""The script for a machine with a GPU, as far as it goes without one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from gpu_tables import tables
from on_gpu import collect
from on_gpu.cases import cases
from on_gpu.training import measured

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="left_out"><skipped message="no GPU here"/></testcase>
<testcase classname="a" name="bad"><failure message="1 != 2">…</failure></testcase>
</testsuite></testsuites>"""


def test_parts_that_failed_or_were_stopped_stand_beside_the_others(tmp_path: Path) -> None:
    row = measured(cases(dry=True)[1], "eager", torch.device("cpu"), steps=1, flops=(flops := {}))
    steps = [
        {"training": "TSN", "form": "eager", **row, "mfu": 0.25},
        {"training": "TSN", "form": "graphs", "failed": "OutOfMemoryError: too much"},
    ]
    assert flops["TSN"] > 0
    for name, content in {
        "tests.ended": {"exit": 1, "seconds": 9, "limit_s": 20},
        "flow.ended": {"exit": 124, "seconds": 20, "limit_s": 20},
        "training.ended": {"exit": 0, "seconds": 8, "limit_s": 20},
        "training": {"peak_tflops": 700.0, "steps": steps},
        "decoding": {"levels": {"failed": "too small"}, "rates": [{"sample": "TSN", "form": "NVDEC", "failed": "no"}]},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "tests.xml").write_text(REPORT)
    collect.main(tmp_path, tmp_path / "on_gpu.json")
    made = {table.title: table for table in tables(json.loads((tmp_path / "on_gpu.json").read_text()))}
    assert [part[:2] for part in made["Parts"].rows] == [
        ["tests", "with exit code 1: see its log"],
        ["flow", "out of time"],
        ["training", "well"],
    ]
    assert (made["Tests on the GPU"].rows, made["Tests on the GPU"].notes) == ([["1", "1", "1"]], ["a::bad: 1 != 2"])
    assert made["Training clips decoded"].rows == [["TSN", "NVDEC", "no", ""]]
    eager, graphs = made["A training step"].rows
    assert eager[6] == "25.0%"
    assert graphs[2] == "OutOfMemoryError: too much"
    assert len(eager) == len(graphs) == len(made["A training step"].header)
