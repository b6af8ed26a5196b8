"""What a file says of itself is heeded: its network, and its input, wherever it comes from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from safetensors.torch import save_file

from kineflow.models.conversion import convert_weights
from kineflow.models.inspection import inspect_weights
from kineflow.models.normalisation import CAFFE
from kineflow.models.published import have_published, input_of, load_published
from kineflow.models.registry import create_backbone
from kineflow.models.stored_input import metadata_of
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from tests.kineflow.models.weight_files import drawn

WIDTH = 0.125


def stored(path: Path, network: str, *, width: float = WIDTH, classes: int = 0) -> str:
    """A file as `convert` writes it, and its hash."""
    state = drawn(create_backbone(network, num_classes=classes, width=width))
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata_of(network, CAFFE))
    return sha256_of(path)


@pytest.mark.parametrize(("theirs", "ours"), [("resnet50_caffe", "resnet50"), ("resnet50", "resnet50_caffe")])
def test_weights_of_a_network_that_looks_alike_are_refused(tmp_path: Path, theirs: str, ours: str) -> None:
    path = tmp_path / "w.safetensors"
    digest = stored(path, theirs)
    load_published(create_backbone(theirs, num_classes=0, width=WIDTH), str(path), digest, called=theirs)
    with pytest.raises(KineflowError, match=f"weights of {theirs}, "):
        load_published(create_backbone(ours, num_classes=0, width=WIDTH), str(path), digest, called=ours)
    with pytest.raises(KineflowError, match=f"weights of {theirs}, "):
        convert_weights(path, tmp_path / "other.safetensors", ours)


@pytest.mark.slow
def test_a_converted_file_stays_what_it_was_when_it_is_converted_again(tmp_path: Path) -> None:
    first, again = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    stored(first, "resnet50_caffe", width=1, classes=3)
    made = convert_weights(first, again)
    assert (made.network, made.takes) == ("resnet50_caffe", CAFFE)
    seen = inspect_weights(again)
    assert (seen.fits, seen.takes) == (("resnet50_caffe",), CAFFE)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Address of the folder ``tmp_path``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_converted_file_says_its_input_by_a_url_too(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    digest = stored(tmp_path / "w.safetensors", "resnet50_caffe")
    url = f"{served}/w.safetensors"
    assert input_of(url, digest) is None, "nothing is fetched by asking"
    have_published(url, digest)
    assert input_of(url, digest) == CAFFE
