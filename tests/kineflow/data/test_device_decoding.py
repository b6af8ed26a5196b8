"""Decoding as on a GPU, on torchcodec's CPU device, against the reader that everything else uses.

Needs torchcodec. PyPI's builds of 0.14 and later do not load beside a CPU-only torch; 0.13 is CPU-only:
``pip install --no-deps --target DIR torchcodec==0.13.0``, and ``PYTHONPATH=DIR``.
"""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from kineflow.data.device_decoding import UnfitForDeviceError, decode_on, resize_on_device, why_no_decoder
from kineflow.data.frame_view import FrameView
from kineflow.data.transforms import View, resize
from kineflow.storage.media import RemoteFile
from kineflow.video.encode import write_video

CPU = torch.device("cpu")
FRAMES, HEIGHT, WIDTH = 40, 144, 192
LEVELS_OF_NVDEC = 2  # colours are computed in floating point there, and by integers in FFmpeg
needs_torchcodec = pytest.mark.skipif(bool(why_no_decoder()), reason=f"torchcodec: {why_no_decoder()}")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> FrameView:
    """A picture that moves, with a key frame every 12 frames; the view is the whole of its 37th to 40th and 3rd."""
    rng = np.random.default_rng(0)
    still = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, (np.roll(still, 4 * number, axis=1) for number in range(FRAMES)), fps=25)
    whole = View(0, 0, HEIGHT, cut=(HEIGHT, WIDTH), as_cut=True)
    return FrameView(path, FRAMES, HEIGHT, WIDTH, (36, 37, 39, 39, 2), HEIGHT, whole)


def levels_apart(device: torch.device, view: FrameView) -> int:
    decoded = decode_on(device, view)
    assert decoded.dtype == torch.uint8
    assert decoded.is_contiguous()
    return int(np.abs(decoded.cpu().numpy().astype(int) - view.read()).max())


VIEWS = {
    "a square": (100, View(3, 5, 80)),
    "a mirrored square": (HEIGHT, View(3, 5, 100, flip=True)),
    "a rectangle made square": (128, View(1, 2, 112, cut=(128, 96))),
    "an enlarged frame": (200, View(0, 9, 180)),
    "a squashed frame": (HEIGHT, View(0, 0, 160, squash=True)),
}


@needs_torchcodec
class TestOnCpu:
    def test_whole_frames_are_those_of_the_reader(self, clip):
        assert levels_apart(CPU, clip) == 0

    @pytest.mark.parametrize("seen", VIEWS)
    def test_views_are_those_of_the_reader_within_a_level(self, clip, seen):
        short_side, view = VIEWS[seen]
        assert levels_apart(CPU, replace(clip, short_side=short_side, view=view)) <= 1

    def test_a_clip_that_is_not_as_the_manifest_has_it_is_unfit(self, clip):
        for change in ({"frames": FRAMES + 1}, {"height": HEIGHT + 2}):
            with pytest.raises(UnfitForDeviceError, match="by the manifest"):
                decode_on(CPU, replace(clip, **change))

    def test_a_playlist_is_not_opened(self, clip, tmp_path):
        playlist = tmp_path / "clip.mp4"
        playlist.write_text(f"ffconcat version 1.0\nfile '{clip.path}'\n")
        with pytest.raises(UnfitForDeviceError, match="no mp4"):
            decode_on(CPU, replace(clip, path=playlist))

    def test_what_cannot_be_decoded_is_unfit(self, clip, tmp_path):
        cut_off = tmp_path / "clip.mp4"
        cut_off.write_bytes(clip.path.read_bytes()[:400])
        with pytest.raises(UnfitForDeviceError):
            decode_on(CPU, replace(clip, path=cut_off))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@needs_torchcodec
@pytest.mark.parametrize("seen", VIEWS)
def test_on_a_gpu_colours_are_those_of_the_reader_within_levels(clip, seen):
    short_side, view = VIEWS[seen]
    gpu = torch.device("cuda", 0)
    assert levels_apart(gpu, replace(clip, short_side=short_side, view=view)) <= LEVELS_OF_NVDEC + 1


@pytest.mark.parametrize("size", [(30, 40), (61, 83), (75, 90), (50, 83), (61, 40), (40, 83), (90, 60), (120, 30)])
def test_sizes_change_as_on_the_cpu_within_a_level(size):
    frames = np.random.default_rng(1).integers(0, 256, (2, 61, 83, 3), dtype=np.uint8)
    on_device = resize_on_device(torch.from_numpy(frames), *size).numpy()
    assert np.abs(on_device.astype(int) - resize(frames, *size)).max() <= 1


def test_an_object_on_s3_is_unfit(clip):
    with pytest.raises(UnfitForDeviceError, match="S3"):
        decode_on(CPU, replace(clip, path=RemoteFile("s3://bucket/clip.mp4")))
