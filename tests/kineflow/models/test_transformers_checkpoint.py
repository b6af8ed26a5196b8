"""Checkpoints of transformers: from a folder or a hub into a network, or refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from components.pretrain import pretrain
from kineflow.models import transformers_library
from kineflow.models.bundle import load_bundle
from kineflow.models.network import VideoNetwork
from kineflow.models.pretrain_settings import PretrainSettings
from kineflow.models.registry import create_model
from kineflow.models.transformers_checkpoint import find_checkpoint, import_checkpoint, load_checkpoint
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import sha256_of
from tests.tiny_transformers import CLASSES, FRAMES, PX, write_tiny

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB_ID = f"org/tiny@{COMMIT}"


def loaded(folder: Path, *, num_classes: int = 0, sha256: str = "") -> tuple[VideoNetwork, str]:
    found = find_checkpoint(str(folder))
    network = create_model("transformers", num_classes=num_classes, config=found.config.text).eval()
    return network, load_checkpoint(network, found, sha256)[1]


def test_pretraining_starts_both_streams_from_it(tmp_path: Path) -> None:
    library = write_tiny(tmp_path / "theirs", "videomae")
    params = PretrainSettings(architecture="transformers", checkpoint=str(tmp_path / "theirs"))
    result = pretrain(params=params, rgb=tmp_path / "rgb", flow=tmp_path / "flow")
    assert "left out: the classifier of 3 classes" in result.summary
    (rgb, rgb_card), (flow, flow_card) = (load_bundle(tmp_path / name) for name in ("rgb", "flow"))
    kernel = library.videomae.embeddings.patch_embeddings.projection.weight
    torch.testing.assert_close(rgb.stem.weight, kernel)
    torch.testing.assert_close(flow.stem.weight, kernel.mean(1, keepdim=True).expand(-1, 2, -1, -1, -1))
    assert rgb_card.preprocessing.mean == pytest.approx((127.5, 102.0, 76.5))
    assert flow_card.preprocessing.modality == "flow"
    assert rgb_card.lineage["checkpoint_sha256"] == sha256_of(tmp_path / "theirs/model.safetensors")


def test_what_a_pretrained_checkpoint_lacks_is_drawn_and_said(tmp_path: Path) -> None:
    write_tiny(tmp_path / "videomae", "videomae", "ForPreTraining", decoder_num_hidden_layers=1)
    _, said = loaded(tmp_path / "videomae")
    assert "drawn afresh: fc_norm; left out: decoder, encoder_to_decoder, mask_token" in said
    library = write_tiny(tmp_path / "vjepa2", "vjepa2", "Model")  # its names begin otherwise
    network, said = loaded(tmp_path / "vjepa2")
    assert "drawn afresh: pooler; left out: predictor" in said
    x = torch.randn(1, 3, FRAMES, PX, PX)
    with torch.no_grad():
        tokens = library.get_vision_features(x.transpose(1, 2))
        torch.testing.assert_close(network.forward_features(x).flatten(2).transpose(1, 2), tokens, rtol=0, atol=1e-6)
    with pytest.raises(KineflowError, match="would be drawn at random"):
        import_checkpoint(str(tmp_path / "vjepa2"), tmp_path / "bundle", stride_frames=1)


def test_plain_tensors_are_read_from_a_pickle_and_parts_from_an_index(tmp_path: Path) -> None:
    library = write_tiny(tmp_path, "videomae")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(KineflowError, match="no weights"):
        loaded(tmp_path)
    torch.save(library.state_dict(), tmp_path / "pytorch_model.bin")
    _, said = loaded(tmp_path, num_classes=len(CLASSES))
    assert "36 tensors loaded" in said
    torch.save({"weights": os.system}, tmp_path / "pytorch_model.bin")
    with pytest.raises(KineflowError, match="not readable as weights alone"):
        loaded(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    library.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    _, said = loaded(tmp_path, num_classes=len(CLASSES))
    assert "36 tensors loaded" in said
    part = next(tmp_path.glob("model-*.safetensors"))
    part.rename(tmp_path / "elsewhere")
    with pytest.raises(KineflowError, match="a part of the weights is missing"):
        loaded(tmp_path)
    (tmp_path / "elsewhere").rename(part)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"classifier.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(KineflowError, match="other files than parts"):
        loaded(tmp_path)


EARLIER_NAMES = {
    "videomae": {"attention.query.bias": "attention.q_bias", "attention.value.bias": "attention.v_bias"},
    "vivit": {
        ".layers.": ".encoder.layer.",
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    },
}


@pytest.mark.parametrize("family", EARLIER_NAMES)
def test_weights_by_the_names_of_earlier_releases_are_read(family: str, tmp_path: Path) -> None:
    """What lies on the hub was written by those."""
    library = write_tiny(tmp_path, family)
    state = {}
    for name, tensor in library.state_dict().items():
        for now, then in EARLIER_NAMES[family].items():
            name = name.replace(now, then)
        state[name] = tensor.clone()
    assert state.keys() != library.state_dict().keys()
    save_file(state, tmp_path / "model.safetensors")
    network, _ = loaded(tmp_path, num_classes=len(CLASSES))
    x = torch.randn(1, 3, FRAMES, PX, PX)
    with torch.no_grad():
        torch.testing.assert_close(network(x), library(x.transpose(1, 2)).logits, rtol=0, atol=1e-6)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    write_tiny(tmp_path, "videomae", num_hidden_layers=3)
    config = json.loads((tmp_path / "config.json").read_text())
    for layers, said in ((2, "unexpected"), (4, "missing")):
        (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
        with pytest.raises(KineflowError, match=said):
            loaded(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 32}))
    with pytest.raises(KineflowError, match="of another shape"):
        loaded(tmp_path)
    with pytest.raises(KineflowError, match="sha256 is"):
        loaded(tmp_path, sha256="0" * 64)


def test_without_the_settings_of_a_preprocessor_somebody_has_to_say(tmp_path: Path) -> None:
    write_tiny(tmp_path / "theirs", "videomae")
    (tmp_path / "theirs/preprocessor_config.json").unlink()
    keys = {"architecture": "transformers", "checkpoint": str(tmp_path / "theirs")}
    places = {"rgb": tmp_path / "rgb", "flow": tmp_path / "flow"}
    with pytest.raises(KineflowError, match="how its input is normalised is not known"):
        pretrain(params=PretrainSettings(**keys), **places)
    said = {"rgb_mean": (100, 101, 102), "rgb_std": (50, 51, 52)}
    pretrain(params=PretrainSettings(**keys, **said), **places)
    assert load_bundle(tmp_path / "rgb")[1].preprocessing.mean == (100, 101, 102)


def test_without_the_library_there_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(tmp_path / "theirs", "videomae")
    import_checkpoint(str(tmp_path / "theirs"), tmp_path / "ours", stride_frames=1)
    monkeypatch.setattr(transformers_library, "find_spec", lambda name: None)
    with pytest.raises(KineflowError, match="not installed") as raised:
        load_bundle(tmp_path / "ours")
    assert "'.[transformers]'" in str(raised.value)


@contextmanager
def hub(folder: Path, asked: list[str], *, status: int = 200) -> Iterator[str]:
    """A hub with one repository at one commit: what its client asks of the real one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            if status != 200:
                return self.answer(b"", status)
            if self.path.startswith(f"/api/models/org/tiny/revision/{COMMIT}"):
                siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                return self.answer(json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": siblings}).encode())
            if self.path.startswith("/api/models/org/tiny/tree/"):
                tree = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()]
                return self.answer(json.dumps(tree).encode())
            name = self.path.rpartition("/")[2].partition("?")[0]
            return self.answer(files[name], etag=name) if name in files else self.answer(b"", 404)

        do_HEAD = do_GET  # noqa: N815

        def answer(self, content: bytes, status: int = 200, etag: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_hub_s_commit_is_fetched_once_and_then_is_there_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    write_tiny(tmp_path / "theirs", "videomae")
    (tmp_path / "theirs/training_args.bin").write_bytes(b"a pickle")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    asked: list[str] = []
    with hub(tmp_path / "theirs", asked) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        found = find_checkpoint(HUB_ID)
        assert found.classes == CLASSES
        assert not any("training_args" in path for path in asked)
    asked.clear()
    assert find_checkpoint(HUB_ID) == found  # the hub has gone
    assert asked == []


def test_a_hub_that_refuses_is_named_and_no_token_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (tmp_path / "none").mkdir()
    with hub(tmp_path / "none", [], status=401) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(KineflowError, match="the hub does not give it") as raised:
            find_checkpoint(HUB_ID)
    assert "hf_secret" not in str(raised.value)
    assert raised.value.where == HUB_ID
