"""What runs leave in MLflow's database: D3D at paper scale, tracked by the calls that its steps make, and no work."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from scale_model.figures import Tracking

from kineflow.storage.config import read_yaml

_ROOT = Path(__file__).resolve().parents[3]
_ROUNDS = 40  # of validation: 40000 steps, every 1000
_CURVES = ("learning_rate", "train/cross_entropy", "train/loss", "val/loss", "val/top1")
_ENDS = {
    "ingest": 5, "validate": 8, "extract_flow": 6, "pretrain": 1, "train": 2, "distill": 2, "evaluate": 35,
    "register": 5,
}  # fmt: skip
_TABLES = ("runs", "params", "metrics", "latest_metrics", "tags", "inputs", "input_tags", "datasets")


def measure(quick: bool) -> Tracking:
    """Rows and bytes a pipeline run, and a shard: slopes over pipeline runs, the file vacuumed."""
    print("tracking", file=sys.stderr)
    runs, shards = (2, 4) if quick else (4, 16)
    names = ("MLFLOW_TRACKING_URI", "KINEFLOW_RUN_ID", "DVC_STAGE")
    before = {name: os.environ.pop(name, None) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"
        try:
            _pipeline_run("warm", 1)
            empty = _counted(database)
            for number in range(runs):
                _pipeline_run(f"run{number}", 1)
            plain = _counted(database)
            for number in range(shards):
                _step(
                    "extract_flow", "extract_flow", {"flow": {"preset": "capped"}, "shard": f"{number}/{shards}"}, "s"
                )
            sharded = _counted(database)
        finally:
            os.environ.pop("MLFLOW_TRACKING_URI")
            os.environ.update({name: value for name, value in before.items() if value is not None})
    each = {name: (plain[name] - empty[name]) / runs for name in plain}
    of_inputs = sum(each[name] for name in ("inputs", "input_tags", "datasets"))
    return Tracking(
        runs=each["runs"], params=each["params"], metrics=each["metrics"], latest_metrics=each["latest_metrics"],
        tags=each["tags"], inputs=of_inputs, database_bytes=each["bytes"],
        empty_database_bytes=empty["bytes"] - each["bytes"],
        shard_rows=sum(sharded[name] - plain[name] for name in _TABLES) / shards,
        shard_database_bytes=(sharded["bytes"] - plain["bytes"]) / shards,
    )  # fmt: skip


def _pipeline_run(run_id: str, seed: int) -> None:
    """Every task of D3D as a tracked run, with the parameters of its file for UCF101."""
    from pipelines.dag.graph import graph_of

    params = read_yaml(_ROOT / "params" / "d3d_ucf101.yaml")
    for task in graph_of("d3d").tasks:
        given: dict[str, Any] = {argument: params.get(key, seed) for argument, key in task.sections.items()}
        _step(task.name, task.step, {**given, **task.constants}, run_id)


def _step(name: str, step: str, params: dict[str, Any], run_id: str) -> None:
    from kineflow.tracking.runs import open_step_run

    tags = {"component": step}
    with open_step_run(name, params=params, experiment="d3d", tags=tags, pipeline_run_id=run_id, root=_ROOT) as run:
        run.log_dataset("clips", version="0" * 64, source="/cache/clips")
        if step in ("train", "distill"):
            for number in range(_ROUNDS):
                run.log_metrics(dict.fromkeys(_CURVES, 0.5), step=1000 * (number + 1))
        run.record({f"figure_{number}": 0.5 for number in range(_ENDS[step])}, {}, {})


def _counted(database: Path) -> dict[str, float]:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("vacuum")
        rows = {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in _TABLES}
    return {**rows, "bytes": database.stat().st_size}
