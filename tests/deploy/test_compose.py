"""compose.yaml is valid by the Compose Specification, as safe as the manifests, and starts the same MLflow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import warnings
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.manifests import DEPLOY, ROOT, built, pods

# github.com/compose-spec/compose-spec, schema/compose-spec.json, Apache-2.0.
SCHEMA = json.loads((ROOT / "tests" / "deploy" / "compose-spec.json").read_text(encoding="utf-8"))
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(:(?P<how>[-?])(?P<text>[^{}]*))?\}")
SETTINGS = {
    "KINEFLOW_IMAGE": f"registry.example.com/team/kineflow-python@sha256:{'1' * 64}",
    "POSTGRES_PASSWORD": "p",
    "AWS_ACCESS_KEY_ID": "k",
    "AWS_SECRET_ACCESS_KEY": "s",
    "ARTIFACTS_DESTINATION": "s3://kineflow/mlflow",
}


def test_the_file_is_valid_by_the_compose_specification() -> None:
    jsonschema.validate(COMPOSE, SCHEMA)


@pytest.mark.parametrize("spoilt", [{"imagee": "x"}, {"read_only": 3}], ids=["unknown", "type"])
def test_the_schema_finds_a_mistake(spoilt: dict[str, Any]) -> None:
    services = {**SERVICES, "mlflow": SERVICES["mlflow"] | spoilt}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**COMPOSE, "services": services}, SCHEMA)


def test_docker_compose_itself_accepts_the_file() -> None:
    if not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        message = "Docker's compose plugin is not installed: compose.yaml is checked against its schema only"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    done = subprocess.run(
        ["docker", "compose", "--file", str(ROOT / "compose.yaml"), "--profile", "run", "config", "--quiet"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **SETTINGS},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)
    user = _filled(service["user"], SETTINGS)
    assert int(user.split(":")[0]) > 0


def test_images_are_named_by_digest_or_by_version() -> None:
    for service in SERVICES.values():
        image = _filled(service["image"], SETTINGS)
        assert re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+-[a-z]+$", image), image


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_what_has_no_sensible_default_must_be_given(name: str) -> None:
    left = {key: value for key, value in SETTINGS.items() if key != name}
    with pytest.raises(ValueError, match=f"{name}: set it in .env"):
        _filled(TEXT, left)


def test_every_variable_of_the_file_is_in_the_example_and_the_other_way_round() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    assert used == set(example)
    secret = re.compile(r"PASSWORD|ACCESS_KEY|SECRET")
    assert not {value for name, value in example.items() if secret.search(name)} - {""}


def test_no_credential_stands_in_the_file() -> None:
    for name, value in re.findall(r"^ +(\w*(?:PASSWORD|ACCESS_KEY|SECRET)\w*): *(.*)$", TEXT, re.MULTILINE):
        assert re.fullmatch(r"\$\{\w+:\?set it in \.env\}", value), name


def test_an_empty_s3_endpoint_means_amazons() -> None:
    endpoint = SERVICES["mlflow"]["environment"]["AWS_ENDPOINT_URL_S3"]
    assert _filled(endpoint, {}) == "https://s3.us-east-1.amazonaws.com"
    assert _filled(endpoint, {"AWS_DEFAULT_REGION": "eu-west-1"}) == "https://s3.eu-west-1.amazonaws.com"
    assert _filled(endpoint, {"AWS_ENDPOINT_URL_S3": "http://s3:9000"}) == "http://s3:9000"


def test_videos_and_parameters_are_mounted_read_only() -> None:
    mounts = {mount["target"]: mount for mount in SERVICES["kineflow"]["volumes"]}
    assert mounts["/data"]["read_only"] is True
    assert mounts["/params"]["read_only"] is True


def test_servers_are_checked_and_waited_for() -> None:
    assert "healthcheck" in SERVICES["postgres"]
    assert "healthcheck" in SERVICES["mlflow"]
    waited_for = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert waited_for["upgrade-database"] == {"postgres": {"condition": "service_healthy"}}
    assert waited_for["mlflow"] == {"upgrade-database": {"condition": "service_completed_successfully"}}
    assert waited_for["kineflow"] == {"mlflow": {"condition": "service_healthy"}}


def test_only_this_host_reaches_mlflow_and_only_mlflow_the_database() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"mlflow": ["127.0.0.1:5000:5000"]}
    assert COMPOSE["networks"]["database"] == {"internal": True}
    beside = {name for name, service in SERVICES.items() if "database" in service["networks"]}
    assert beside == {"postgres", "upgrade-database", "mlflow"}


def test_mlflow_is_started_as_on_a_cluster() -> None:
    """Which tests/deploy/test_mlflow_on_postgres.py does for real."""
    pod = pods(built("minimal"))["mlflow"]["spec"]
    server, upgrade = pod["containers"][0], pod["initContainers"][0]
    here = SERVICES["mlflow"]
    assert here["entrypoint"] == server["command"]

    def flags(words: list[str]) -> dict[str, str]:
        return {word.split("=")[0]: word.split("=", 1)[1] for word in words}

    ours, theirs = flags(here["command"]), flags(server["args"])
    assert set(ours) == set(theirs)
    assert {flag for flag in ours if ours[flag] != theirs[flag]} == {"--artifacts-destination", "--allowed-hosts"}
    assert SERVICES["upgrade-database"]["entrypoint"] == upgrade["command"]
    fixed = {variable["name"]: variable["value"] for variable in server["env"]}
    assert fixed.items() <= here["environment"].items()


def test_the_runner_finds_mlflow_by_a_name_that_mlflow_answers_to() -> None:
    address = SERVICES["kineflow"]["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://")
    allowed = next(word for word in SERVICES["mlflow"]["command"] if word.startswith("--allowed-hosts="))
    assert address in allowed.removeprefix("--allowed-hosts=").split(",")
    assert set(SERVICES["kineflow"]["networks"]) & set(SERVICES["mlflow"]["networks"])


def _filled(text: str, settings: dict[str, str]) -> str:
    """Variables replaced as Compose does, inner ones first: unset or empty, ``:-`` is a default and ``:?`` refuses."""

    def value(found: re.Match[str]) -> str:
        given = settings.get(found["name"], "")
        if not given and found["how"] == "?":
            raise ValueError(f"{found['name']}: {found['text']}")
        return given or (found["text"] or "" if found["how"] == "-" else "")

    while _VARIABLE.search(text):
        text = _VARIABLE.sub(value, text)
    return text
