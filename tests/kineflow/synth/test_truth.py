import zipfile
from pathlib import Path

import numpy as np
import pytest

from kineflow.storage.errors import KineflowError
from kineflow.synth.staging import affines
from kineflow.synth.truth import Truth, load_truth, save_truth


def small_truth() -> Truth:
    rng = np.random.default_rng(0)
    still = np.zeros(3)
    actor = affines(x=5 + np.arange(3.0), y=still + 6, angle=0.1 * np.arange(3), scale=still + 1)
    scene = affines(x=still, y=0.25 * np.arange(3), angle=still, scale=still + 1)
    return Truth(actor, scene, rng.random((3, 11, 13)) < 0.3)


def test_what_is_saved_is_loaded_exactly(tmp_path: Path) -> None:
    truth = small_truth()
    save_truth(truth, tmp_path / "deep" / "clip.npz")
    loaded = load_truth(tmp_path / "deep" / "clip.npz")
    for name in ("actor", "scene", "mask", "flow", "camera", "occluded"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(truth, name))
    assert loaded.mask.dtype == bool
    assert loaded.flow.dtype == np.float32
    assert loaded.flow.shape == (2, 11, 13, 2)


def test_same_truth_same_bytes(tmp_path: Path) -> None:
    save_truth(small_truth(), tmp_path / "a.npz")
    save_truth(small_truth(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_flow_is_of_the_layer_a_pixel_belongs_to() -> None:
    still = np.zeros(2)
    mask = np.zeros((2, 16, 16), bool)
    mask[:, 4:8, 4:8] = True
    actor = affines(x=np.array([6.0, 8.0]), y=still + 6, angle=np.array([0.0, np.pi / 2]), scale=still + 1)
    scene = affines(x=np.array([0.0, -0.5]), y=still, angle=still, scale=still + 1)
    truth = Truth(actor, scene, mask)
    np.testing.assert_allclose(truth.flow[0, 0, 0], [-0.5, 0], atol=1e-6)
    # One pixel right of the centre turns clockwise to one pixel below it, and the centre moves two to the right.
    np.testing.assert_allclose(truth.flow[0, 6, 7], [2 - 1, 1], atol=1e-6)
    np.testing.assert_allclose(truth.camera[0], [[1, 0, -0.5], [0, 1, 0]])


def test_pixels_that_the_actor_comes_to_cover_are_occluded() -> None:
    still = np.zeros(2)
    mask = np.zeros((2, 16, 16), bool)
    mask[0, 4:8, 4:8] = True
    mask[1, 4:8, 7:11] = True
    actor = affines(x=np.array([6.0, 9.0]), y=still + 6, angle=still, scale=still + 1)
    scene = affines(x=still, y=np.array([0.0, -1.0]), angle=still, scale=still + 1)
    hidden = Truth(actor, scene, mask).occluded[0]
    assert not hidden[4:7, 4:7].any()  # the actor itself stays in sight
    assert hidden[5:8, 8:11].all()  # covered by the actor in the next frame
    assert hidden[0].all()  # the camera leaves them outside
    assert not hidden[10:].any()


@pytest.mark.parametrize(("dx", "dy"), [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)])
def test_background_that_leaves_the_image_is_occluded(dx: float, dy: float) -> None:
    still = np.zeros(2)
    actor = affines(x=still + 6, y=still + 6, angle=still, scale=still + 1)
    scene = affines(x=np.array([0, dx]), y=np.array([0, dy]), angle=still, scale=still + 1)
    hidden = Truth(actor, scene, np.zeros((2, 8, 8), bool)).occluded[0]
    leaving = np.zeros((8, 8), bool)
    side = -1 if dx + dy > 0 else 0
    if dx:
        leaving[:, side] = True
    else:
        leaving[side] = True
    np.testing.assert_array_equal(hidden, leaving)


@pytest.mark.parametrize("content", [b"", b"text, no archive", b"PK\x03\x04 broken"])
def test_unreadable_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.npz"
    path.write_bytes(content)
    with pytest.raises(KineflowError, match=r"clip\.npz: no readable truth"):
        load_truth(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KineflowError, match="no readable truth"):
        load_truth(tmp_path / "absent.npz")


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    np.savez(path, shape=np.array([1, 1, 1]), mask=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(KineflowError, match="no readable truth"):
        load_truth(path)


def test_poses_that_do_not_fit_the_masks_are_refused(tmp_path: Path) -> None:
    truth = small_truth()
    save_truth(Truth(truth.actor[:2], truth.scene, truth.mask), tmp_path / "clip.npz")
    with pytest.raises(KineflowError, match="do not fit masks"):
        load_truth(tmp_path / "clip.npz")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("mask", np.zeros(70 * 2**20, np.uint8), "73400448 bytes; at most"),
        ("shape", np.array([10**9, 10**9, 10**9]), "masks"),
        ("shape", np.array([2, 3]), "masks"),
    ],
)
def test_what_would_unfold_to_too_much_is_refused(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    truth = small_truth()
    arrays = {"actor": truth.actor, "scene": truth.scene, "shape": np.array(truth.mask.shape, np.int32)}
    np.savez_compressed(tmp_path / "clip.npz", **{**arrays, "mask": np.packbits(truth.mask), name: array})
    with pytest.raises(KineflowError, match=message):
        load_truth(tmp_path / "clip.npz")


def test_an_array_of_another_size_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    save_truth(small_truth(), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["actor.npy"] = members["actor.npy"].replace(b"(", b"(90000000000, ").replace(b" " * 13, b"", 1)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(KineflowError, match="actor of shape"):
        load_truth(path)
