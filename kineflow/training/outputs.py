"""What the training steps read and write, apart from training itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kineflow.models.bundle import save_bundle, weights_digest
from kineflow.models.card import load_card
from kineflow.sets.clip_set import CLIPSET_FILE, MANIFEST_FILE, ClipSet
from kineflow.sets.flow_set import FLOW_INDEX_FILE, FLOWSET_FILE, FlowSet
from kineflow.spec.output_files import CURVES_FILE
from kineflow.storage.files import atomic_folder, sha256_of, work_done, work_folder
from kineflow.training import processes
from kineflow.training.clips import Data
from kineflow.training.jobs import Trained
from kineflow.training.model_cards import with_clips
from kineflow.training.settings import RunSettings

_WORK_VERSION = 4  # raised where checkpoints of before cannot be gone on from


def load_data(clips: Path, flow: Path | None) -> Data:
    """The clip set, and the flow set if there is one.

    Raises:
        KineflowError: One of the folders does not hold what it should.
    """
    return Data(ClipSet.load(clips), FlowSet.load(flow) if flow else None)


@contextmanager
def training_work(
    model: Path, clips: Path, flow: Path | None, bundles: Sequence[Path], *settings: object
) -> Iterator[Path]:
    """A folder for the checkpoints of one training, found again by the next run with the same inputs and settings.

    It is done with when the block succeeds (:func:`kineflow.storage.files.work_done`). Inputs are told apart by what
    describes them; no video is read. How many processes train does not tell settings apart: a training may go on with
    another number of them.

    Raises:
        KineflowError: A bundle is missing or damaged.
    """
    described = [clips / MANIFEST_FILE, clips / CLIPSET_FILE]
    if flow:
        described += [flow / FLOW_INDEX_FILE, flow / FLOWSET_FILE]
    inputs = [*map(sha256_of, described), *((weights_digest(bundle), load_card(bundle)) for bundle in bundles)]
    deciding = [each.wherever_it_runs() if isinstance(each, RunSettings) else each for each in settings]
    yield work_folder(model, _WORK_VERSION, *inputs, *deciding)
    if processes.is_main_process():
        work_done(model)


def save_trained(trained: Trained, clip_set: ClipSet, model: Path, work: Path) -> None:
    """Write the bundle and its training curves, whole or not at all; of several processes the first does.

    Its card says which clips it was trained from.
    """
    if not processes.is_main_process():
        return
    with atomic_folder(model) as partial:
        save_bundle(partial, trained.network, with_clips(trained.card, clip_set))
        shutil.copy(work / CURVES_FILE, partial / CURVES_FILE)
