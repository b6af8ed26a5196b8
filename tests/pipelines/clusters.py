"""A cluster section for tests."""

from __future__ import annotations

from typing import Any

from pipelines.cluster.data_version import DataVersion
from pipelines.dag.cluster_settings import ClusterParams

IMAGE = f"registry.example.com/team/kineflow-python@sha256:{'0123456789abcdef' * 4}"
DATA = DataVersion("0123456789abcdef0123456789abcdef.dir", "s3://bucket/dvc")


def cluster(**changes: Any) -> ClusterParams:
    """A small cluster with one GPU a training step and flow in three shards."""
    values: dict[str, Any] = {
        "image": IMAGE,
        "volume": {"claim": "kineflow-data", "path": "/cache"},
        "secrets": {"s3": "kineflow-s3", "mlflow": "kineflow-mlflow", "image_pull": ["registry"]},
        "environment": {"MLFLOW_TRACKING_URI": "http://mlflow.kineflow-mlflow.svc:5000"},
        "ingest_shards": 2,
        "ingest_shards_at_once": 1,
        "flow_shards": 3,
        "flow_shards_at_once": 2,
        "steps": {
            "default": {"cpu": "2", "memory": "8Gi"},
            "train": {
                "gpus": 1, "shared_memory": "16Gi", "queue": "team-gpus", "node_selector": {"gpu": "h200"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            },
            "evaluate": {"gpus": 1, "gpu_type": "nvidia.com/mig-1g.10gb", "memory": "1.5Gi"},
            "teacher": {"memory": "64Gi", "timeout_sec": 3600},
        },
    }  # fmt: skip
    return ClusterParams.model_validate(values | changes)
