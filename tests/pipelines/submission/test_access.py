"""Address, token and certificates: found where users keep them, and never shown."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kineflow.storage.errors import KineflowError
from pipelines.submission.access import Access, Token
from tests.pipelines.submission.conftest import Ended
from tests.pipelines.submission.kfp_server import Fault, KfpServer, kfp_server, tasks

pytestmark = pytest.mark.slow

Submit = Callable[..., Ended]
SECRET = "eyJhbGciOi.planted-token.c2VjcmV0"


def token_file(folder: Path, value: str = SECRET) -> Path:
    path = folder / "token"
    path.write_text(f"{value}\n")
    return path


def test_a_host_is_asked_for(submit: Submit, cli: Callable[..., Ended], params: Callable[..., Path]) -> None:
    ended = cli("submit", "d3d", "--params", params(), "--allow-dirty")
    assert ended.code == 2
    assert "no host is given" in ended.err
    assert "KF_PIPELINES_ENDPOINT" in ended.err


def test_the_environment_names_the_host_as_kfp_reads_it(kfp: KfpServer) -> None:
    access = Access.find(None, environment={"KF_PIPELINES_ENDPOINT": f"{kfp.url}/"})
    assert access.host == kfp.url
    assert Access.find("http://other", environment={"KF_PIPELINES_ENDPOINT": kfp.url}).host == "http://other"


def test_pages_can_be_elsewhere() -> None:
    environment = {"KF_PIPELINES_UI_ENDPOINT": "https://kubeflow.example/pipeline/"}
    access = Access.find("http://api:8888", environment=environment)
    assert access.run_page("7") == "https://kubeflow.example/pipeline/#/runs/details/7"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://[::1",
        "https://host/?a=b",
        "https://host/#x",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(KineflowError, match="no address of a host"):
        Access.find(url, environment={})


@pytest.mark.parametrize("url", [f"https://anna:{SECRET}@host", f"http://{SECRET}@host:99999x"])
def test_a_password_in_the_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(KineflowError) as refused:
        Access.find(url, environment={})
    assert SECRET not in str(refused.value)
    assert "--token-file" in str(refused.value)


def test_the_token_is_found_in_file_then_path_then_environment(tmp_path: Path) -> None:
    given = token_file(tmp_path)
    (tmp_path / "other").write_text("second")
    environment = {"KF_PIPELINES_TOKEN_PATH": str(tmp_path / "other"), "KF_PIPELINES_TOKEN": "third"}
    assert Token.find(given, environment).value == SECRET
    assert Token.find(None, environment).value == "second"
    assert Token.find(None, {"KF_PIPELINES_TOKEN": "third"}).value == "third"
    assert Token.find(None, {}).value == ""


def test_a_notebook_has_a_token_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = token_file(tmp_path, "mounted")
    monkeypatch.setattr("pipelines.submission.access.POD_TOKEN", mounted)
    (tmp_path / "other").write_text("second")
    elsewhere = {"KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "other")}
    assert Token.find(None, {}).value == "mounted"
    assert Token.find(None, elsewhere).value == "second"
    assert Token.find(None, elsewhere | {"KF_PIPELINES_TOKEN": "third"}).value == "third"
    assert Token.find(None, {"KF_PIPELINES_COOKIE": "session=1"}).value == "", "a session is meant for another server"
    mounted.write_text("renewed")  # as the kubelet does
    assert Token.find(None, {}).read_again().value == "renewed"


def test_a_session_is_sent_and_shown_nowhere(kfp: KfpServer, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_COOKIE", f"authservice_session={SECRET}")
    kfp.fail("POST", "/runs", Fault(status=503, message=f"proxy saw {SECRET}"))
    ended = submit()
    assert ended.code == 0, ended.err
    assert {request.cookie for request in kfp.requests} == {f"authservice_session={SECRET}"}
    assert SECRET not in ended.out + ended.err
    monkeypatch.setenv("KF_PIPELINES_COOKIE", SECRET)
    ended = submit()
    assert (ended.code, SECRET in ended.err) == (2, False)
    assert "name=value" in ended.err


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"two words", b"two\nlines", b"\xff\xfe"],
    ids=["empty", "blank", "words", "lines", "binary"],
)
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(KineflowError, match="token"):
        Token.find(path, {})


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="No such file"):
        Token.find(tmp_path / "none", {})


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="certificates"):
        Access.find("https://host", ca_file=tmp_path / "none.pem", environment={})


@pytest.fixture
def tls(kfp: KfpServer, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The double behind TLS: its address, and the file with its certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    _write_certificate(key, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with kfp_server(context, state=kfp) as served:
        yield served.url, certificate


def test_a_certificate_must_be_trusted_and_can_be_named(
    submit: Submit, tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, certificate = tls
    refused = submit(host=host)
    assert refused.code == 2
    assert "certificate verify failed" in refused.err
    assert "--ca-file" in refused.err
    assert submit("--ca-file", certificate, host=host).code == 0
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert submit(host=host).code == 0


def _write_certificate(key_file: Path, certificate_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    certificate_file.write_bytes(certificate.public_bytes(encoding))


def test_the_token_is_sent_and_shown_nowhere(
    kfp: KfpServer, submit: Submit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    kfp.tokens = {SECRET}
    kfp.script = [{"state": "FAILED", "error": {"code": 2, "message": "failed"}, **tasks(train="FAILED")}]
    kfp.fail("POST", "/runs", Fault(status=503, message=f"proxy saw Bearer {SECRET}"))
    kfp.fail("GET", "/runs/{run_id}", Fault(cut="silent"))
    ended = submit("--token-file", token_file(tmp_path), "--watch", "--json")
    assert ended.code == 1
    assert {request.authorization for request in kfp.requests} == {f"Bearer {SECRET}"}
    assert SECRET not in ended.out + ended.err + caplog.text
    assert "proxy saw Bearer ***" in ended.err
    assert not any(SECRET in package for package in kfp.packages.values())
    assert not any(SECRET in str(each) for each in (kfp.runs, kfp.pipelines, kfp.versions, kfp.experiments))


def test_a_token_has_no_representation() -> None:
    access = Access("http://host", "http://host", Token(None, SECRET))
    assert SECRET not in f"{access!r} {access} {access.token!r}"


def test_without_a_token_the_remedy_is_told(kfp: KfpServer, submit: Submit) -> None:
    kfp.tokens = {SECRET}
    ended = submit()
    assert ended.code == 2
    assert "not logged in (401)" in ended.err
    assert "--token-file" in ended.err
    assert "Traceback" not in ended.err


def test_a_token_that_is_renewed_in_its_file_is_read_again(kfp: KfpServer, submit: Submit, tmp_path: Path) -> None:
    kfp.tokens = {"old"}
    path = token_file(tmp_path, "old")

    def renew() -> None:
        kfp.tokens = {"new"}
        path.write_text("new")

    kfp.script = [{"state": "RUNNING"}, {"state": "RUNNING"}, {"state": "SUCCEEDED"}]
    kfp.fail("GET", "/runs/{run_id}", Fault(before=renew))
    ended = submit("--token-file", path, "--watch")
    assert ended.code == 0, ended.err
    assert kfp.requests[-1].authorization == "Bearer new"


def test_a_token_that_has_run_out_for_good_ends_the_watching(kfp: KfpServer, submit: Submit, tmp_path: Path) -> None:
    kfp.tokens = {"old"}
    kfp.fail("GET", "/runs/{run_id}", Fault(before=kfp.tokens.clear), Fault(before=lambda: kfp.tokens.add("new")))
    kfp.script = [{"state": "RUNNING"}] * 5
    ended = submit("--token-file", token_file(tmp_path, "old"), "--watch")
    assert ended.code == 2
    assert "not logged in" in ended.err
