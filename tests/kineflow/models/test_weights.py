from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kineflow.models.download import display_name
from kineflow.models.named_weights import MIRROR, weights_file
from kineflow.models.network import VideoNetwork
from kineflow.models.registry import create_backbone, create_model
from kineflow.models.weights import fetch_weights, load_weights, read_weights, weights_cache
from kineflow.models.weights_table import TABLE
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of

pytestmark = pytest.mark.slow

BODY = bytes(range(256)) * 20_000  # about 5 MB, several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``BODY`` and some misbehaviour, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[str] = []
        self.sent: list[int] = []

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what some tests are about."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        name = self.path.partition("?")[0].strip("/")
        if name in ("absent.pth", "busy.pth"):
            self.send_error(*{"absent.pth": (404, "Not Found"), "busy.pth": (503, "Service Unavailable")}[name])
            return
        if name.startswith("moved"):
            target = {"moved.pth": "/weights.pth", "moved-away.pth": "ftp://example.org/a.pth",
                      "moved-plain.pth": "http://example.org/a.pth"}[name]  # fmt: skip
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        whole = name != "torn.pth" or len(self.server.asked) > 1
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1]) if name in ("torn.pth", "resumed.pth") else 0
        if begin >= len(BODY):
            self.send_error(416, "Range Not Satisfiable")
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}")
        if name != "unsized.pth":
            self.send_header("Content-Length", str(len(BODY) - begin))
        self.end_headers()
        self.server.sent.append(len(BODY) - begin)
        self.wfile.write(BODY[begin:] if whole else BODY[: len(BODY) // 2])

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def build(name: str = "s3d", *, num_classes: int = 4, seed: int = 0, width: float = 0.125) -> VideoNetwork:
    torch.manual_seed(seed)
    return create_model(name, num_classes=num_classes, width=width)


@pytest.mark.parametrize("name", ["weights.pth", "unsized.pth", "moved.pth", "weights.pth?token=secret"])
def test_a_download_is_kept_by_its_hash(server: Server, tmp_path: Path, name: str) -> None:
    path = fetch_weights(server.url(name), sha256=SHA256.upper(), cache=tmp_path)
    assert path == tmp_path / f"{SHA256}.pth"
    assert path.read_bytes() == BODY
    asked = len(server.asked)
    assert fetch_weights(server.url(name), sha256=SHA256, cache=tmp_path) == path
    assert len(server.asked) == asked


def test_a_damaged_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{SHA256}.pth").write_bytes(b"half")
    assert fetch_weights(server.url("weights.pth"), sha256=SHA256, cache=tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("name", "sha256", "named"),
    [
        ("weights.pth", "0" * 64, f"sha256 is {SHA256}"),
        ("absent.pth", SHA256, "404"),
        ("moved-away.pth", SHA256, "ftp"),
        ("moved-plain.pth", SHA256, "not fetched by http"),
        ("weights.zip", SHA256, "'.zip'"),
        ("weights.pth", "../../etc/passwd", "no SHA-256"),
    ],
)
def test_a_failed_download_leaves_nothing(server: Server, tmp_path: Path, name: str, sha256: str, named: str) -> None:
    with pytest.raises(KineflowError) as caught:
        fetch_weights(server.url(name), sha256=sha256, cache=tmp_path)
    assert named in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_broke_off_is_no_file_and_goes_on(server: Server, tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="broke off"):
        fetch_weights(server.url("torn.pth"), sha256=SHA256, cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".{SHA256}.pth.part"]
    path = fetch_weights(server.url("torn.pth"), sha256=SHA256, cache=tmp_path)
    assert path.read_bytes() == BODY
    assert server.sent == [len(BODY), len(BODY) - len(BODY) // 2]
    assert list(tmp_path.iterdir()) == [path]


def test_a_busy_server_costs_nothing_of_what_has_come(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / f".{SHA256}.pth.part"
    partial.write_bytes(BODY[:10])
    with pytest.raises(KineflowError, match=r"503[\s\S]*try again"):
        fetch_weights(server.url("busy.pth"), sha256=SHA256, cache=tmp_path)
    assert partial.read_bytes() == BODY[:10]


def test_named_weights_are_downloaded_once_and_kept_under_their_published_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(MIRROR, raising=False)
    row = replace(TABLE[0], url=server.url("moved.pth"), sha256=SHA256[:8], size_mb=len(BODY) / 1e6)
    path = weights_file(row)
    assert (path.name, path.parent, path.read_bytes()) == (row.file, weights_cache(), BODY)
    asked = len(server.asked)
    assert weights_file(row) == path
    assert len(server.asked) == asked
    path.write_bytes(b"damaged")
    assert weights_file(row).read_bytes() == BODY


@pytest.mark.parametrize("name", ["weights.pth", "resumed.pth"])
@pytest.mark.parametrize("left", [b"of another file", BODY[:-7] + b"another", BODY + b"more"])
def test_what_is_left_of_another_download_does_no_harm(server: Server, tmp_path: Path, name: str, left: bytes) -> None:
    """Whether the server goes on where it is asked to, or begins anew."""
    (tmp_path / f".{SHA256}.pth.part").write_bytes(left)
    assert fetch_weights(server.url(name), sha256=SHA256, cache=tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("name", ["weights.pth", "unsized.pth"])
def test_size_is_bounded_whether_announced_or_not(server: Server, tmp_path: Path, name: str) -> None:
    with pytest.raises(KineflowError, match="larger than"):
        fetch_weights(server.url(name), sha256=SHA256, cache=tmp_path, max_bytes=len(BODY) - 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    ["http://example.org/a.pth", "ftp://example.org/a.pth", "file:///etc/hosts.pth", "https://me:pw@example.org/a.pth",
     "http://127.0.0.1.example.org/a.pth", "https://[/a.pth"],
)  # fmt: skip
def test_only_https_without_credentials_leaves_this_machine(url: str, tmp_path: Path) -> None:
    with pytest.raises(KineflowError) as caught:
        fetch_weights(url, sha256=SHA256, cache=tmp_path)
    assert "pw" not in str(caught.value)


def test_no_server_is_a_message(server: Server, tmp_path: Path) -> None:
    url = server.url("weights.pth?token=secret")
    server.server_close()
    server.shutdown()
    with pytest.raises(KineflowError) as caught:
        fetch_weights(url, sha256=SHA256, cache=tmp_path)
    assert "broke off" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_local_file_is_verified_and_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(BODY)
    assert fetch_weights(str(path), sha256=SHA256) == path
    with pytest.raises(KineflowError, match="sha256 is"):
        fetch_weights(str(path), sha256="0" * 64)
    with pytest.raises(KineflowError, match="larger than"):
        fetch_weights(str(path), sha256=SHA256, max_bytes=10)
    with pytest.raises(KineflowError, match="no such file"):
        fetch_weights(str(tmp_path / "other.pth"), sha256=SHA256)


def test_names_for_people_hold_no_secrets() -> None:
    assert display_name("https://me:pw@example.org:8443/a/b.pth?sig=1#x") == "https://example.org:8443/a/b.pth"
    assert display_name("data/b.pth") == "data/b.pth"


def test_the_cache_follows_the_user_s_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_cache() == tmp_path / "kineflow" / "weights"


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module"])
def test_tensors_are_read_from_pth(tmp_path: Path, wrap: str) -> None:
    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
    stored: dict[str, Any] = {
        "plain": state,
        "state_dict": {"epoch": 3, "state_dict": state},
        "module": {f"module.{key}": value for key, value in state.items()},
    }[wrap]
    torch.save(stored, tmp_path / "w.pth")
    read = read_weights(tmp_path / "w.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_tensors_are_read_from_safetensors(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / "w.safetensors")
    assert torch.equal(read_weights(tmp_path / "w.safetensors")["a"], torch.arange(3.0))


class _Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("attacked",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Attack()}, tmp_path / "w.pth")
    with pytest.raises(KineflowError, match="not readable as weights alone"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 torn"])
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KineflowError, match="not readable as weights alone"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": 1}, torch.ones(1)])
def test_other_content_than_a_table_of_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(KineflowError, match="no plain table"):
        read_weights(tmp_path / "w.pth")


def test_the_same_classifier_is_taken_over() -> None:
    source, target = build(seed=0), build(seed=1)
    report = load_weights(target, source.state_dict(), where="w.pth")
    assert report.classifier_loaded
    assert report.tensors == len(source.state_dict())
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items())


@pytest.mark.parametrize(("theirs", "ours"), [(4, 7), (4, 0), (0, 4)])
def test_another_classifier_is_left_out_and_said_so(theirs: int, ours: int) -> None:
    source, target = build(num_classes=theirs, seed=0), build(num_classes=ours, seed=1)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    report = load_weights(target, source.state_dict(), where="w.pth")
    assert not report.classifier_loaded
    assert f"checkpoint: {theirs} classes, network: {ours}" in str(report)
    body = [key for key in before if not key.startswith("classifier")]
    assert report.tensors == len(body)
    for key, value in target.state_dict().items():
        assert torch.equal(value, source.state_dict()[key] if key in body else before[key])


def test_anything_else_that_differs_is_refused() -> None:
    state = build(seed=0).state_dict()
    state["features.9.branch0.0.weight"] = torch.zeros(1, 2, 1, 1, 1)
    state["extra"] = state.pop("features.0.0.0.weight")
    target = build(seed=1)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(KineflowError) as caught:
        load_weights(target, state, where="w.pth")
    for named in (
        "w.pth",
        "missing (1): features.0.0.0.weight",
        "unexpected (1): extra",
        "features.9.branch0.0.weight",
    ):
        assert named in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


def test_many_faults_are_counted_and_a_few_shown() -> None:
    with pytest.raises(KineflowError, match=r"of another shape \(\d+\): .*… and \d+ more"):
        load_weights(build(width=0.25), build().state_dict(), where="w.pth")


def test_names_in_a_file_cannot_write_to_the_terminal() -> None:
    state = dict(build().state_dict()) | {"\x1b[2J" + "x" * 9_000: torch.ones(1)}
    with pytest.raises(KineflowError, match="unexpected") as raised:
        load_weights(build(), state, where="w")
    assert "\x1b" not in str(raised.value)
    assert len(str(raised.value)) < 500


def test_old_checkpoints_that_count_no_batches_load() -> None:
    state = {key: value for key, value in build(seed=0).state_dict().items() if not key.endswith("batches_tracked")}
    assert load_weights(build(seed=1), state, where="old.pth").classifier_loaded


def test_s3d_weights_start_an_s3d_g(tmp_path: Path) -> None:
    source, target = build("s3d", seed=0).eval(), build("s3d_g", seed=1).eval()
    torch.save(source.state_dict(), tmp_path / "s3d.pth")
    checkpoint = fetch_weights(str(tmp_path / "s3d.pth"), sha256=sha256_of(tmp_path / "s3d.pth"))
    report = load_weights(target, read_weights(checkpoint), where="s3d.pth")
    assert (report.tensors, report.left_out, len(report.missing)) == (len(source.state_dict()), (), 37)
    assert all(name.endswith("project.weight") for name in report.missing)  # the gates
    x = torch.randn(1, 3, 12, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(target(x), source(x))


def test_what_a_backbone_s_checkpoint_gives_is_counted_under_its_own_names() -> None:
    torch.manual_seed(0)
    source = create_backbone("googlenet", num_classes=10, width=0.125)
    state = {f"aux1.{number}.weight": torch.zeros(1) for number in range(7)} | source.state_dict()
    target = create_model("tsn", num_classes=0, in_channels=3, backbone="googlenet", width=0.125, consensus="weighted")
    report = load_weights(target, state, where="googlenet.pth")
    assert report.tensors == len(source.state_dict()) - 2  # but for the classifier
    assert report.in_checkpoint == len(state)
    assert set(report.left_out) == {name for name in state if name.startswith("aux1.")}
    assert report.missing == tuple(name for name in target.state_dict() if name.startswith("consensus."))
    assert "left out (7): aux1.0.weight, " in str(report)
    assert "… and 2 more" in str(report)


def test_tensors_that_a_network_computes_anew_are_the_checkpoint_s(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = build(seed=0), build(seed=1)
    state = {f"theirs.{name}": tensor.clone() for name, tensor in source.state_dict().items()}
    monkeypatch.setattr(
        type(target), "adapt_checkpoint", lambda _, state: {name[7:]: state[name].clone() + 0 for name in state}
    )
    report = load_weights(target, state, where="w.pth")
    assert (report.tensors, report.left_out, report.missing) == (len(state), (), ())
    assert all(torch.equal(tensor, target.state_dict()[name]) for name, tensor in source.state_dict().items())


def test_weights_that_are_no_numbers_are_refused_by_name() -> None:
    target, other = build(), build(seed=1, num_classes=9)
    state = build(seed=1).state_dict()
    head = f"{target.classifier_name}.weight"
    state[head][0] = float("nan")
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(KineflowError, match=rf"not a number \(1 tensors\): {re.escape(head)}"):
        load_weights(target, state, where="s3d.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    load_weights(other, state, where="s3d.pth")  # a classifier of other classes is left out
