import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kubernetes.fields import Toleration
from components.launch.trainjob_settings import TRAINJOB, TrainJobSettings, trainjob_settings
from kineflow.storage.config import parse_params
from kineflow.storage.errors import KineflowError

LEAST = {"image": "registry.example.com/kineflow", "volume": {"claim": "kineflow-data", "path": "/cache"}}
NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
VARIABLES = st.from_regex(r"KF_[A-Z]{1,10}", fullmatch=True)


@pytest.mark.slow
@given(
    environment=st.dictionaries(VARIABLES, st.text(alphabet="abc 0-9:/{}\"'é", max_size=20), max_size=4),
    secrets=st.dictionaries(NAMES, st.just(("AWS_SECRET_ACCESS_KEY",)), max_size=1),
    node_selector=st.dictionaries(NAMES, NAMES, max_size=3),
    timeout_sec=st.integers(1, 10**7),
)
def test_settings_survive_the_way_through_the_environment(environment, secrets, node_selector, timeout_sec):
    settings = TrainJobSettings(
        **LEAST, environment=environment, secrets=secrets, node_selector=node_selector, timeout_sec=timeout_sec
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TRAINJOB, settings.to_json())
        assert trainjob_settings() == settings
        assert trainjob_settings().to_json() == settings.to_json()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gpu": 1}, "gpu: unknown key; known keys: environment"),
        ({"per_node": {"gpu": 1}}, "per_node.gpu: unknown key; known keys: cpu, gpu_type, gpus, memory"),
        ({"volume": {"claim": "kineflow-data", "path": "cache"}}, "must be an absolute path"),
        ({"volume": {"claim": "kineflow-data", "path": "/cache/../etc"}}, "must be an absolute path"),
        ({"volume": {"claim": "Kineflow_Data", "path": "/cache"}}, "volume.claim"),
        ({"per_node": {"memory": "64 GB"}}, "per_node.memory"),
        ({"per_node": {"gpus": -1}}, "per_node.gpus"),
        ({"timeout_sec": 0}, "timeout_sec"),
        ({"image": "x" * 501}, "image"),
        ({"environment": {"9LIVES": "x"}}, "environment"),
        ({"environment": {"AWS_REGION": "a"}, "secrets": {"s3": ["AWS_REGION"]}}, "set twice .*: AWS_REGION"),
        ({"secrets": {"one": ["KEY"], "two": ["KEY"]}}, "set twice by environment and secrets: KEY"),
        ({"tolerations": [{"operator": "Equal", "value": "x"}]}, "'Equal' needs the key"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}, "compares no value"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else next(iter(value)),
)
def test_settings_that_do_not_fit_are_refused_by_their_key(changes, says):
    with pytest.raises(KineflowError, match=says):
        parse_params(TrainJobSettings, {**LEAST, **changes}, where=TRAINJOB)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_SECRET_ACCESS_KEY", "planted-word"), ("MLFLOW_TRACKING_URI", "https://me:planted-word@mlflow")],
    ids=["by its name", "by its value"],
)
def test_a_credential_among_the_plain_variables_is_refused_and_not_repeated(name, value):
    with pytest.raises(KineflowError, match=f"(?s){name}.*named under secrets") as error:
        parse_params(TrainJobSettings, {**LEAST, "environment": {name: value}}, where=TRAINJOB)
    assert "planted-word" not in str(error.value)


def test_settings_that_are_no_json(monkeypatch):
    monkeypatch.setenv(TRAINJOB, "{")
    with pytest.raises(KineflowError, match="train on one node"):
        trainjob_settings()


def test_a_toleration_is_stated_in_the_words_of_kubernetes():
    assert Toleration(key="gpu", operator="Exists", effect="NoExecute", seconds=60).manifest() == {
        "key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60,
    }  # fmt: skip
    assert Toleration(operator="Exists").manifest() == {"operator": "Exists"}


def test_the_text_is_json_with_sorted_keys():
    values = json.loads(TrainJobSettings(**LEAST).to_json())
    assert list(values) == sorted(values)
