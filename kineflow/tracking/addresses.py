"""Addresses of MLflow's pages, in the view for training: without it they open in the one for language models."""

from __future__ import annotations

LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where ``mlflow ui`` listens unless it is told otherwise."""

_TRAINING_VIEW = "workflowType=machine_learning"


def experiments_page(server: str) -> str:
    """All experiments of a server, by its address without a slash at the end."""
    return f"{server}/#/experiments?{_TRAINING_VIEW}"


def file_page(experiment_id: str, run_id: str, name: str) -> str:
    """A file of a run, as an address within MLflow's own pages."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{name}?{_TRAINING_VIEW}"
