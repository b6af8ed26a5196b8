from collections.abc import Mapping
from typing import ClassVar, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from kineflow.storage.config import Params, parse_params, read_yaml
from kineflow.storage.errors import KineflowError


class Inner(Params):
    rate: float = Field(default=0.1, gt=0, le=1)
    kind: Literal["fast", "slow"] = "fast"


class Section(Params):
    steps: int = Field(ge=1)
    crop: int = 8
    short_side: int = 8
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _fits(self) -> "Section":
        if self.crop > self.short_side:
            raise ValueError(f"crop must be at most short_side ({self.short_side}), not {self.crop}")
        return self


def fault(values) -> str:
    with pytest.raises(KineflowError) as caught:
        parse_params(Section, values, where="teacher")
    assert caught.value.remedy
    return str(caught.value)


def test_values_and_defaults():
    params = parse_params(Section, {"steps": 3, "inner": {"kind": "slow"}}, where="teacher")
    assert (params.steps, params.crop, params.inner.kind, params.inner.rate) == (3, 8, "slow", 0.1)


def test_params_cannot_be_changed():
    params = Section(steps=1)
    with pytest.raises(ValidationError):
        params.steps = 2


def test_unknown_key_is_named_with_the_known_ones():
    message = fault({"steps": 1, "stps": 2})
    assert "teacher.stps: unknown key" in message
    assert "crop, inner, short_side, steps" in message


def test_unknown_nested_key_is_named_with_the_keys_beside_it():
    message = fault({"steps": 1, "inner": {"rte": 2}})
    assert "teacher.inner.rte: unknown key; known keys: kind, rate" in message


@pytest.mark.parametrize(
    ("values", "key", "limit", "given"),
    [
        ({"steps": 0}, "teacher.steps", "greater than or equal to 1", "not 0"),
        ({"steps": 1, "inner": {"rate": 2.0}}, "teacher.inner.rate", "less than or equal to 1", "not 2.0"),
        ({"steps": 1, "inner": {"kind": "odd"}}, "teacher.inner.kind", "'fast' or 'slow'", "not 'odd'"),
        ({"steps": "many"}, "teacher.steps", "integer", "not 'many'"),
        ({"steps": 1, "inner": {"rate": float("nan")}}, "teacher.inner.rate", "finite", "not nan"),
        ({"steps": 1, "inner": {"rate": float("inf")}}, "teacher.inner.rate", "finite", "not inf"),
    ],
)
def test_range_fault_names_key_limit_and_value(values, key, limit, given):
    (line,) = [line for line in fault(values).splitlines() if key in line]
    assert limit in line
    assert given in line


def test_missing_value():
    assert "teacher.steps: required, and absent" in fault({})


def test_all_faults_are_reported_at_once():
    message = fault({"steps": 0, "inner": {"rate": 0, "rte": 1}, "extra": 1})
    assert all(key in message for key in ("teacher.steps", "teacher.inner.rate", "teacher.inner.rte", "teacher.extra"))


def test_fault_across_keys_does_not_print_the_whole_section():
    message = fault({"steps": 1, "crop": 9})
    assert "teacher: crop must be at most short_side (8), not 9\n" in message
    assert "{" not in message


@pytest.mark.parametrize("values", [5, None, "text", [1]])
def test_a_section_must_be_a_mapping(values):
    assert f"teacher: a mapping of keys to values is expected, not {values!r}" in fault(values)


class TestReadYaml:
    def test_mapping(self, tmp_path):
        (tmp_path / "params.yaml").write_text("seed: 3\nteacher: {steps: 1}\n")
        assert read_yaml(tmp_path / "params.yaml") == {"seed": 3, "teacher": {"steps": 1}}

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"a: [", "not readable as YAML"),
            (b"\xff\xfe\xfa", "not readable as YAML"),
            (b"- a\n", "mapping"),
            (b"", "mapping"),
        ],
    )
    def test_bad_content_names_the_file(self, tmp_path, content, problem):
        path = tmp_path / "params.yaml"
        path.write_bytes(content)
        with pytest.raises(KineflowError, match=problem) as caught:
            read_yaml(path)
        assert str(caught.value.where).partition(",")[0] == str(path)

    def test_missing_file_and_folder(self, tmp_path):
        for path in (tmp_path / "absent.yaml", tmp_path):
            with pytest.raises(KineflowError, match="not readable"):
                read_yaml(path)

    def test_yaml_builds_no_objects(self, tmp_path):
        (tmp_path / "params.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
        with pytest.raises(KineflowError):
            read_yaml(tmp_path / "params.yaml")


class Renamed(Params):
    renamed: ClassVar[Mapping[str, str]] = {"rho": "alpha"}

    alpha: float = Field(default=0.5, gt=0)


class Around(Params):
    inner: Renamed = Renamed()


def test_an_old_name_works_and_is_told_once(caplog):
    for _ in range(2):
        params = parse_params(Around, {"inner": {"rho": 0.9}}, where="teacher")
        assert params == Around(inner=Renamed(alpha=0.9))
    assert [(record.name, "rho" in record.message, "alpha" in record.message) for record in caplog.records] == [
        ("kineflow", True, True)
    ]


@pytest.mark.parametrize(
    ("values", "message"), [({"rho": 1, "alpha": 1}, "only the new"), ({"rho": -1}, "inner.alpha")]
)
def test_an_old_name_is_checked_as_the_new_one(values, message):
    with pytest.raises(KineflowError, match=message):
        parse_params(Around, {"inner": values}, where="teacher")


class Open(Params):
    endpoint_url: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    inner: Inner = Inner()
    sources: tuple[str, ...] = ()


class TestCredentials:
    @pytest.mark.parametrize(
        ("values", "key"),
        [
            ({"endpoint_url": "https://ann:s3cret@host"}, "endpoint_url"),
            ({"endpoint_url": "https://s3cret@host"}, "endpoint_url"),
            ({"endpoint_url": "https://host/x?X-Amz-Signature=s3cret&y=1"}, "endpoint_url"),
            ({"tags": {"from": "get https://host/x?a=1&sig=s3cret"}}, "tags.from"),
            ({"tags": {"from": "https://host/x?access_token=s3cret"}}, "tags.from"),
            ({"sources": ["plain", "s3://key:s3cret@bucket/x"]}, "sources.1"),
            ({"inner": {"kind": "https://host/#token=s3cret"}}, "inner.kind"),
            ({"unknown": "https://host/?AWSAccessKeyId=s3cret", "steps": 1}, "unknown"),
        ],
    )
    def test_no_key_takes_an_address_with_one(self, values, key):
        with pytest.raises(KineflowError) as caught:
            parse_params(Open, values, where="ingestion")
        message = str(caught.value)
        assert f"ingestion.{key}: holds a credential" in message
        assert "AWS_SECRET_ACCESS_KEY" in message
        assert "s3cret" not in message

    @pytest.mark.parametrize(
        "plain",
        ["https://host:9000", "s3://bucket/prefix", "ssh://ann@host/path", "ann@example.org", "v_x?sigma=2", "a&b=c",
         "https://host/x?version=3", "registry:5000/image@sha256:00"],
    )  # fmt: skip
    def test_other_addresses_are_taken(self, plain):
        assert parse_params(Open, {"endpoint_url": plain, "tags": {"x": plain}}, where="x").tags == {"x": plain}

    def test_the_real_sections_refuse_them(self):
        from kineflow.data.ingest_settings import IngestSettings
        from kineflow.registry.registration_settings import RegistrationSettings

        for kind, values in (
            (IngestSettings, {"source": "data", "endpoint_url": "https://a:s3cret@h"}),
            (RegistrationSettings, {"name": "d3d", "tags": {"x": "https://h/?X-Amz-Credential=s3cret"}}),
        ):
            with pytest.raises(KineflowError, match="holds a credential") as caught:
                parse_params(kind, values, where="s")
            assert "s3cret" not in str(caught.value)
