import dataclasses
import itertools
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from kineflow.models.card import ModelCard
from kineflow.serving.follow import Followed, Handover, follow
from kineflow.serving.timeline import timeline
from kineflow.serving.windows import Window
from kineflow.spec.flow_source import FlowSource
from kineflow.spec.preprocessing import Preprocessing
from kineflow.storage.errors import KineflowError
from kineflow.video.live import open_live

WANTED = Preprocessing("rgb", 4, 2, 36, 32, (128.0,) * 3, (64.0,) * 3)
CARD = ModelCard("student", "tiny", {}, ("dark", "light"), WANTED)


class Brightness(torch.nn.Module):
    def __init__(self, sec: float = 0.0) -> None:
        super().__init__()
        self.gain, self.sec = torch.nn.Parameter(torch.tensor(4.0)), sec

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.sec)
        light = self.gain * x.mean(dim=(1, 2, 3, 4))
        return torch.stack([-light, light], dim=1)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames as MPEG-TS, which can be read as it is written."""
    path = tmp_path_factory.mktemp("ts") / "whole.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        film = container.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        film.options = {"tune": "zerolatency", "g": "5"}
        for number in range(60):
            image = np.full((48, 64, 3), 60 + 2 * number, np.uint8)
            container.mux(film.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(film.encode())
    return path


def followed(path: Path | str, network: torch.nn.Module, **options: float) -> list[Followed]:
    options = {"idle_sec": 0.3, "step_sec": 0.2, **options}
    return list(follow(str(path), network, CARD, say=lambda _: None, **options))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_file_that_grows_is_answered_as_it_grows_and_as_the_whole_one(stream: Path, tmp_path: Path) -> None:
    content, path = stream.read_bytes(), tmp_path / "growing.ts"
    half = len(content) // 2
    path.write_bytes(content[:half])
    grown = threading.Event()

    def grow() -> None:
        grown.wait(20)
        with path.open("ab") as writing:
            writing.write(content[half:])

    writer = threading.Thread(target=grow)
    writer.start()
    answers: list[Followed] = []
    for answer in follow(str(path), Brightness(), CARD, idle_sec=5.0, step_sec=0.2, say=lambda _: None):
        answers.append(answer)
        grown.set()  # the rest is written only after there has been an answer
        if answer.window.end_sec > 2.2:
            break
    writer.join()
    whole = {round(window.start_sec, 3): window for window in timeline(stream, Brightness(), CARD, step_sec=0.2)}
    for answer in answers:
        expected = whole[round(answer.window.start_sec, 3)]
        np.testing.assert_allclose(answer.window.probabilities, expected.probabilities, atol=1e-6)
    assert answers[0].window.start_sec < 1.3
    assert answers[-1].window.end_sec > 2.2


@pytest.mark.slow
def test_a_slow_network_drops_whole_windows_and_counts_frames(stream: Path) -> None:
    answers = followed(stream, Brightness(sec=0.15))
    assert sum(answer.dropped_windows for answer in answers) > 0
    assert sum(answer.dropped_frames for answer in answers) > 0
    assert max(answer.late_sec for answer in answers) < 2.0
    spans = [(round(each.window.start_sec * 25), round(each.window.end_sec * 25)) for each in answers]
    gaps = [max(0, later[0] - before[1]) for before, later in itertools.pairwise(spans)]
    assert [answer.dropped_frames for answer in answers[1:]] == gaps


def test_a_newer_window_takes_the_place_of_the_one_that_waits() -> None:
    handover, clip = Handover(), torch.zeros(1)
    for number in range(3):
        handover.put(Window(5 * number, 5 * number + 7, 0.0, 0.0, clip))
    taken = handover.take()
    assert taken is not None
    assert (taken.window.first, taken.dropped_windows, taken.first_dropped) == (10, 2, 0)
    handover.close()
    assert handover.take() is None


@pytest.mark.slow
def test_a_stream_that_is_not_there_is_opened_again_a_few_times_and_no_password_is_told() -> None:
    notes: list[str] = []
    with pytest.raises(KineflowError, match="opened again 1 times in vain") as caught:
        list(follow("http://ann:planted42@127.0.0.1:9/x.ts", Brightness(), CARD, reconnects=1, say=notes.append))
    assert "planted42" not in f"{caught.value} {notes}"
    assert len(notes) == 1


def test_what_is_no_video_or_needs_flow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ts").write_bytes(b"no video" * 100)
    with pytest.raises(KineflowError, match="not readable as a video"):
        followed(tmp_path / "x.ts", Brightness(), idle_sec=0.0)
    with pytest.raises(KineflowError, match="cannot be read"):
        followed(tmp_path / "gone.ts", Brightness())
    wanted = dataclasses.replace(WANTED, modality="flow", mean=(128.0,) * 2, std=(64.0,) * 2)
    flow = FlowSource({"outer_iterations": 1, "inner_iterations": 4, "warps": 1}, bound_px=8.0, short_side=48)
    card = dataclasses.replace(CARD, preprocessing=wanted, flow=flow)
    with pytest.raises(KineflowError, match="takes flow"):
        next(follow("x.ts", Brightness(), card, say=lambda _: None))


@pytest.mark.slow
def test_a_stream_over_http_is_read(stream: Path) -> None:
    import http.server

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(stream.parent))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/{stream.name}"
        for answer in follow(address, Brightness(), CARD, step_sec=0.2, say=lambda _: None):
            assert answer.window.probabilities.shape == (2,)
            break
        too_large = open_live(address, is_over=lambda: False, idle_sec=5, max_pixels=10)
        with pytest.raises(KineflowError, match="are more than 10 pixels"), too_large:
            pass
    finally:
        server.shutdown()
        server.server_close()
