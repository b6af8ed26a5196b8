"""Some runs compared: the records, what differs, and the same as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kineflow.comparison.differences import ModelChange, by_basis, changes, differing_params
from kineflow.comparison.records import RunRecord


@dataclass(frozen=True)
class Together:
    """Runs that were judged on the same clips by the same protocol; or those that were not judged.

    Attributes:
        records: The runs.
        changes: Of all after the first, against the first; none where they were not asked for.
    """

    records: tuple[RunRecord, ...]
    changes: tuple[ModelChange, ...] = ()

    @property
    def heading(self) -> str:
        """What their figures are of."""
        judged = self.records[0].judged
        if judged is None:
            return "not judged"
        protocol = judged.protocol or "protocol not recorded"
        return f"{judged.split or 'clips'} {judged.clips[:12]}, {protocol}"


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        groups: Only figures within one may be compared.
        params: Values of all runs, by parameter, where they differ; empty where they were not asked for.
    """

    groups: tuple[Together, ...]
    params: dict[str, list[str | None]]

    @property
    def records(self) -> list[RunRecord]:
        """All runs, by groups."""
        return [record for group in self.groups for record in group.records]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": [dataclasses.asdict(record) for record in self.records],
            "params": {
                name: dict(zip([record.id for record in self.records], values, strict=True))
                for name, values in self.params.items()
            },
            "groups": [
                {
                    "judged": group.heading,
                    "runs": [record.id for record in group.records],
                    "changes": [dataclasses.asdict(change) for change in group.changes],
                }
                for group in self.groups
            ],
        }


def compare(records: Sequence[RunRecord], *, closely: bool, root: Path | None = None) -> Comparison:
    """Put runs side by side.

    Args:
        records: Of :func:`kineflow.comparison.records.find_runs`.
        closely: With what differs in their parameters, and what single clips say: answers are downloaded.
        root: The project's folder; the working folder when None.
    """
    groups = tuple(
        Together(tuple(group), tuple(changes(group, root=root)) if closely and basis and len(group) > 1 else ())
        for basis, group in by_basis(records).items()
    )
    ordered = [record for group in groups for record in group.records]
    return Comparison(groups, differing_params(ordered) if closely else {})
