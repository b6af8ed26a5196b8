"""Whether a registered model's origins are all there still, and are what they are said to be: digest by digest."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.dvc.workspace_files import KEPT_AS, LOCK_FILE
from kineflow.models.bundle import WEIGHTS_FILE, weights_digest
from kineflow.registry.origins import Origins, kept_file
from kineflow.registry.outcomes import OUTCOMES_FILE
from kineflow.serving.served_files import check_served_files
from kineflow.serving.stored_files import MODEL_PREFIX, checked_bundle, find_version
from kineflow.sets.clip_set import CLIPSET_FILE, ClipSet, clips_digest
from kineflow.sets.flow_set import FLOWSET_FILE, FlowSet, flow_digest
from kineflow.spec.split import Split
from kineflow.storage.errors import KineflowError
from kineflow.tracking.lineage import NOT_VERSIONED
from pipelines.garbage import cache_of
from pipelines.locked_outputs import LockedOutput, as_folder, locked_outputs, locked_sources, missing_files

_SETS, _WEIGHTS = ("clips", "flow"), ("_weights_sha256", "_parent")
"""Names of a card's digests, and how such names end."""


@dataclass(frozen=True)
class Checked:
    """One thing that was looked at: what, whether it is right, and in words how it is."""

    what: str
    is_right: bool
    words: str

    def __str__(self) -> str:
        return f"{'✓' if self.is_right else '✗'} {self.what}: {self.words}"


def check_origins(origins: Origins, project: Path) -> Iterator[Checked]:
    """Look at the registered files, the commit, the data, and what the run's lock names, and compare digests.

    Args:
        origins: Of a version.
        project: Whose git repository, DVC cache and store are looked at.

    Raises:
        KineflowError: The store or DVC's cache cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="kineflow-origins-") as name:
        folder = Path(name)
        yield _registered(origins, project)
        yield _code(origins, project)
        cache = cache_of(project)
        lock = kept_file(origins, KEPT_AS[LOCK_FILE], folder)
        yield _data(origins, lock, cache)
        yield _kept("params", kept_file(origins, "params.yaml", folder))
        yield _kept("outputs", lock)
        if lock:
            yield from _outputs(origins, locked_outputs(lock), cache)


def _registered(origins: Origins, project: Path) -> Checked:
    try:
        version = find_version(f"{MODEL_PREFIX}{origins.name}/{origins.version}", root=project)
        check_served_files(version, beside=(OUTCOMES_FILE,))
        with checked_bundle(version):
            return Checked("registered files", True, origins.weights[:12])
    except KineflowError as error:
        return Checked("registered files", False, error.problem)


def _code(origins: Origins, project: Path) -> Checked:
    commit = origins.code.get("git.commit", "")
    if not commit:
        return Checked("code", False, "no commit was recorded: the project was not under git")
    if origins.code.get("git.dirty") != "false":
        return Checked("code", False, f"files differed from commit {commit[:12]}, and nobody knows how")
    command = ["git", "-C", str(project), "cat-file", "-e", f"{commit}^{{commit}}"]
    is_there = subprocess.run(command, capture_output=True, check=False).returncode == 0
    return Checked(
        "code", is_there, f"commit {commit[:12]}{'' if is_there else ' is not in this repository: git fetch'}"
    )


def _data(origins: Origins, lock: Path | None, cache: Path) -> Checked:
    """The version of ``data.dvc``, whose files DVC keeps; else what the run has read, which nobody keeps."""
    version = origins.data.get("dvc.data.md5", "")
    if version and version != NOT_VERSIONED:
        missing = missing_files(version, cache)
        words = f", {missing} files are not in the cache: dvc pull" if missing else ""
        return Checked("data", not missing, f"{version}{words}")
    read = locked_sources(lock) if lock else []
    if not read:
        return Checked("data", False, "their version was not recorded")
    named = ", ".join(f"{source.path} was {source.md5}" for source in read)
    return Checked("data", True, f"{named}; DVC does not keep them: see that they stay as they are")


def _kept(what: str, file: Path | None) -> Checked:
    return Checked(
        what, file is not None, f"the run {'kept' if file else 'did not keep'} {file.name if file else 'them'}"
    )


def _outputs(origins: Origins, outputs: list[LockedOutput], cache: Path) -> Iterator[Checked]:
    """Each digest that the card names, against what the run's stages made."""
    made: dict[str, str] = {}
    for output in outputs:
        if missing := missing_files(output.md5, cache):
            yield Checked(output.path, False, f"{missing} of its files are not in the cache: dvc pull")
        elif output.md5.endswith(".dir"):
            with as_folder(output.md5, cache) as folder:
                made |= dict.fromkeys(_digests(folder), output.path)
    wanted = {"judged on": origins.evaluated[0], "weights": origins.weights}
    wanted |= {key: value for key, value in origins.parents.items() if key in _SETS or key.endswith(_WEIGHTS)}
    for what, value in wanted.items():
        words = f"{value[:12]}, {f'made as {made[value]}' if value in made else 'which none of the outputs is'}"
        yield Checked(what, value in made, words)


def _digests(folder: Path) -> list[str]:
    """Of a bundle its weights; of a clip set what was learnt from, and each split; of a flow set its own."""
    if (folder / WEIGHTS_FILE).is_file():
        return [weights_digest(folder)]
    if (folder / CLIPSET_FILE).is_file():
        clip_set = ClipSet.load(folder, with_unknown_labels=True)
        learnt_from = clip_set.usable(Split.TRAIN, Split.VAL, Split.UNLABELLED)
        labelled = clip_set.usable(Split.TRAIN, Split.VAL)
        return [*(clips_digest(clip_set.usable(split)) for split in Split), *map(clips_digest, (learnt_from, labelled))]
    if (folder / FLOWSET_FILE).is_file():
        return [flow_digest(FlowSet.load(folder))]
    return []
