"""pip's settings on their way into the build of the image."""

from __future__ import annotations

import importlib.util
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build_image() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_image", ROOT / "deploy" / "build_image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").write_text("a wheel")
    (tmp_path / "index" / "simple" / "b").mkdir(parents=True)
    (tmp_path / "index" / "simple" / "b" / "index.html").write_text('<a href="../../files/b.whl">b.whl</a>')
    (tmp_path / "index" / "files").mkdir()
    (tmp_path / "index" / "files" / "b.whl").write_text("another")
    (tmp_path / "secret").write_text("mine")
    return tmp_path


@pytest.fixture
def reachable(build_image: ModuleType, folders: Path) -> Iterator[dict[str, str]]:
    settings = {
        "index-url": "https://user:password@packages.example.org/simple",
        "extra-index-url": f"file://{folders}/index/simple",
        "find-links": f"{folders}/wheels https://packages.example.org/wheels",
        "timeout": "60",
    }
    with build_image.served(settings) as given:
        yield given


def test_folders_of_this_machine_are_served_and_addresses_stay(reachable: dict[str, str]) -> None:
    assert reachable["index-url"] == "https://user:password@packages.example.org/simple"
    assert reachable["timeout"] == "60"
    wheels, elsewhere = reachable["find-links"].split()
    assert elsewhere == "https://packages.example.org/wheels"
    assert urllib.request.urlopen(f"{wheels}a.whl").read() == b"a wheel"
    assert b"a.whl" in urllib.request.urlopen(wheels).read()
    index = reachable["extra-index-url"]
    assert b"../../files/b.whl" in urllib.request.urlopen(f"{index}b/").read()
    assert urllib.request.urlopen(f"{index}../files/b.whl".replace("simple/../", "")).read() == b"another"


@pytest.mark.slow
@pytest.mark.parametrize("path", ["0/../../secret", "0/%2e%2e/%2e%2e/secret", "7/secret", "secret", "..%2fsecret"])
def test_nothing_else_is_served(reachable: dict[str, str], path: str) -> None:
    address = "/".join(reachable["extra-index-url"].split("/")[:3])
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{address}/{path}")


def test_a_pip_conf_that_pip_reads_back(build_image: ModuleType, tmp_path: Path) -> None:
    import configparser

    given = {"index-url": "https://user:100%25@packages.example.org/simple", "find-links": "one\n two"}
    text = build_image.pip_conf(given, with_certificates=True)
    read = configparser.RawConfigParser()  # as pip does
    read.read_string(text)
    assert dict(read["global"]) == {
        "index-url": "https://user:100%25@packages.example.org/simple",
        "find-links": "one two",
        "cert": "/run/secrets/ca",
    }


@pytest.mark.slow
def test_settings_are_merged_as_pip_merges_them(
    build_image: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = https://one.example.org/simple\ncert = {bundle}\n"
        "[install]\nfind-links = /wheels\nno-deps = yes\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://two.example.org/simple")
    settings, certificates = build_image.pip_settings()
    assert settings["index-url"] == "https://two.example.org/simple"
    assert settings["find-links"] == "/wheels"
    assert "no-deps" not in settings
    assert certificates == bundle


def test_labels_say_what_is_in_the_image(build_image: ModuleType) -> None:
    from kineflow import __version__

    labels = dict(label.split("=", 1) for label in build_image.labels(ROOT))
    assert labels["VERSION"] == __version__
    assert labels["DATA_SCHEMA_VERSION"].isdigit()
    assert len(labels["SOURCE_DIGEST"]) == 64


def test_importing_it_changes_nothing_but_the_path(build_image: ModuleType) -> None:
    assert str(ROOT) in sys.path
