"""Motion probes of several networks as a value, and as the folder that later steps, people and spreadsheets read.

::

    errors/<network>.parquet  end-point error of every clip, stage and decoder
    metrics.json              figures of every network, stage and decoder, and what they were measured on
    probes.csv                the same as a table: a row for each network, stage and decoder
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kineflow.evaluation.motion_probe import Mean, ProbeErrors, ProbeSummary, mean_over_clips, summarise_probe
from kineflow.evaluation.results import check_names, require_known
from kineflow.spec.output_files import METRICS_FILE
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file, inside
from kineflow.storage.parquet import open_table
from kineflow.storage.spreadsheet import harmless

ERRORS_FOLDER = "errors"
PROBES_FILE = "probes.csv"

Site = tuple[str, str]  # stage and decoder


@dataclass(frozen=True)
class Probed:
    """The probes of one network.

    Attributes:
        name: Of the network.
        modality: What it sees; see :mod:`kineflow.spec.modality`.
        errors: Of each stage and decoder.
        untrained: Name of the network with random weights that it is compared with; None: it is such a one itself.
    """

    name: str
    modality: str
    errors: Mapping[Site, ProbeErrors]
    untrained: str | None = None


@dataclass(frozen=True)
class Probing:
    """Probes of several networks, all on the same clips.

    Attributes:
        networks: With distinct names; the untrained ones are among them.
        clip_ids: Of the clips, in the order of the errors.
        split: That they are from.
        student: Name of the network that the report is about.
        baseline: Name of the network that the trained ones are compared with, or None.

    Raises:
        KineflowError: Names are double, or one is unknown.
    """

    networks: tuple[Probed, ...]
    clip_ids: tuple[str, ...]
    split: str
    student: str
    baseline: str | None = None

    def __post_init__(self) -> None:
        check_names([network.name for network in self.networks])
        named = {self.student, self.baseline, *(network.untrained for network in self.networks)}
        require_known([name for name in named if name], [network.name for network in self.networks], what="network")

    @property
    def sites(self) -> list[Site]:
        """Stages and decoders, in order."""
        return list(self.networks[0].errors)

    @property
    def trained(self) -> list[Probed]:
        """Networks that are not there for comparison alone."""
        return [network for network in self.networks if network.untrained]

    def network(self, name: str) -> Probed:
        """The network with this name.

        Raises:
            KineflowError: There is none.
        """
        by_name = {network.name: network for network in self.networks}
        require_known([name], by_name, what="network")
        return by_name[name]

    def summary(self, name: str, site: Site) -> ProbeSummary:
        """Figures of a network's probe, beside the untrained network's and the baseline's."""
        network = self.network(name)
        compared = self.baseline if network.untrained and self.baseline != name else None
        return summarise_probe(
            network.errors[site],
            untrained=self.network(network.untrained).errors[site] if network.untrained else None,
            baseline=self.network(compared).errors[site] if compared else None,
        )

    def overall_gain(self, name: str) -> Mean | None:
        """Error of the baseline less that of a network, px, each clip's mean over all stages and decoders; paired.

        None for the baseline itself, and without one.
        """
        if self.baseline in (None, name):
            return None
        assert self.baseline is not None
        network, baseline = self.network(name), self.network(self.baseline)
        gains = [baseline.errors[site].decoded - errors.decoded for site, errors in network.errors.items()]
        return mean_over_clips(np.mean(gains, axis=0))


def probe_metrics(probing: Probing) -> dict[str, float]:
    """End-point errors in px by name, ``<network>/<stage>/<decoder>``."""
    return {
        f"{network.name}/{stage}/{decoder}": probing.summary(network.name, (stage, decoder)).error.value
        for network in probing.networks
        for stage, decoder in network.errors
    }


def write_probing(folder: Path, probing: Probing, *, facts: Mapping[str, Any]) -> None:
    """Write the files of the module's picture into an existing folder.

    Args:
        folder: Where to.
        probing: What.
        facts: What it was measured on, and how; values as JSON has them.
    """
    for network in probing.networks:
        save_errors(_errors_file(folder, network.name), probing.clip_ids, network.errors)
    metrics: dict[str, Any] = {}
    for network in probing.networks:
        by_stage: dict[str, Any] = metrics.setdefault(network.name, {})
        for stage, decoder in network.errors:
            by_stage.setdefault(stage, {})[decoder] = _figures(probing.summary(network.name, (stage, decoder)))
    metrics["data"] = {"split": probing.split, "clips": len(probing.clip_ids), **facts}
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with (folder / PROBES_FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("network", "sees", "stage", "decoder", "clips", *_COLUMNS))
        writer.writerows(map(harmless, _rows(probing)))


def save_errors(path: Path, clip_ids: Sequence[str], errors: Mapping[Site, ProbeErrors]) -> None:
    """Write the errors of one network as a parquet file, whole or not at all: a row for each probe and clip."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[Any]] = {"stage": [], "decoder": [], "clip_id": [], "error_px": [], "still_px": []}
    for (stage, decoder), measured in errors.items():
        columns["stage"] += [stage] * len(clip_ids)
        columns["decoder"] += [decoder] * len(clip_ids)
        columns["clip_id"] += clip_ids
        columns["error_px"] += measured.decoded.tolist()
        columns["still_px"] += measured.still.tolist()
    with atomic_file(path) as partial:
        pq.write_table(pa.table(columns), partial)


def load_errors(path: Path) -> tuple[tuple[str, ...], dict[Site, ProbeErrors]]:
    """Read what :func:`save_errors` wrote: clip ids, and the errors of each stage and decoder.

    Raises:
        KineflowError: The file is missing, or is not such a file.
    """
    try:
        with open_table(path, texts=["stage", "decoder", "clip_id"]) as table:
            columns = [table.texts(name) for name in ("stage", "decoder", "clip_id")]
            decoded, still = (table.numbers(name, np.float64) for name in ("error_px", "still_px"))
        rows: dict[Site, list[int]] = {}
        for row, site in enumerate(zip(*columns[:2], strict=True)):
            rows.setdefault(site, []).append(row)
        clips = {site: tuple(columns[2][row] for row in site_rows) for site, site_rows in rows.items()}
        if len(set(clips.values())) != 1:
            raise ValueError("its probes are not all of the same clips")
        errors = {site: ProbeErrors(decoded[site_rows], still[site_rows]) for site, site_rows in rows.items()}
    except (OSError, ValueError) as error:
        raise KineflowError(
            f"no readable errors of motion probes ({error})", where=path, remedy="run the probe_motion step again"
        ) from None
    return next(iter(clips.values())), errors


def _errors_file(folder: Path, name: str) -> Path:
    return inside(folder / ERRORS_FOLDER, f"{name}.parquet")


_GAINS = ("gain_over_still", "gain_over_untrained", "gain_over_baseline")
_COLUMNS = (
    "error", "error_low", "error_high", "still",
    *(f"{gain}{end}" for gain in _GAINS for end in ("", "_low", "_high")),
)  # fmt: skip


def _figures(summary: ProbeSummary) -> dict[str, float | None]:
    """Figures of one probe by column, px; None where there is no such figure, or an interval has no end."""
    means = {"error": summary.error} | {gain: getattr(summary, gain) for gain in _GAINS}
    figures = {
        f"{name}{end}": value
        for name, mean in means.items()
        for end, value in zip(("", "_low", "_high"), _ends(mean), strict=True)
    }
    return {name: {**figures, "still": summary.still.value}[name] for name in _COLUMNS}


def _ends(mean: Mean | None) -> tuple[float | None, float | None, float | None]:
    if mean is None:
        return None, None, None
    return mean.value, *(end if math.isfinite(end) else None for end in (mean.low, mean.high))  # type: ignore[return-value]


def _rows(probing: Probing) -> Iterator[tuple[str | int, ...]]:
    for network in probing.networks:
        for stage, decoder in network.errors:
            summary = probing.summary(network.name, (stage, decoder))
            values = ("" if value is None else f"{value:.6g}" for value in _figures(summary).values())
            yield network.name, network.modality, stage, decoder, summary.clips, *values
