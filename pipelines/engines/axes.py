"""A recipe by seeds and by official splits: a parameter file for each run, made of the one that was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from components.frontend.run import check_seed
from kineflow.data.ingest_settings import IngestSettings
from kineflow.storage.config import parse_params, read_yaml
from kineflow.storage.errors import KineflowError
from kineflow.storage.files import atomic_file
from kineflow.training.teacher_settings import OwnTeacherSettings
from pipelines.dag.graph import Graph
from pipelines.dag.params import graph_for, load_params, schema_of
from pipelines.engines.workspace import PARAMS_FILE, variant_folder

_HEADER = "# Made by kineflow from {base}, for {words}: change that one.\n"
_WIDTH = 120
_MOST_DIGITS = 10


@dataclass(frozen=True)
class Axes:
    """Over what a recipe is repeated.

    Attributes:
        seeds: Of the key ``seed``; empty: the file's own.
        splits: Of ``ingestion.split_number``; empty: the file's own.
    """

    seeds: tuple[int, ...] = ()
    splits: tuple[int, ...] = ()

    @classmethod
    def of(cls, seeds: str, splits: str) -> Axes:
        """From the options of a command, such as ``1,2,3``; empty texts for none.

        Raises:
            KineflowError: One is no list of whole numbers, or has one twice.
        """
        axes = cls(_numbers("--seeds", seeds), _numbers("--splits", splits))
        for seed in axes.seeds:
            check_seed(seed)
        return axes

    def __bool__(self) -> bool:
        return bool(self.seeds or self.splits)

    @property
    def words(self) -> str:
        """As options of a command."""
        given = (("--splits", self.splits), ("--seeds", self.seeds))
        return " ".join(f"{option} {','.join(map(str, numbers))}" for option, numbers in given if numbers)


@dataclass(frozen=True)
class Member:
    """One of the runs.

    Attributes:
        seed: Its seed.
        split: Its split; None where that is no axis.
        name: Of both, in words.
        params_file: The file that was given where it has these values, else one that is made of it.
        values: Contents of that.
    """

    seed: int
    split: int | None
    name: str
    params_file: Path
    values: dict[str, Any]

    def write(self, base: Path) -> None:
        """Write the file, if it is not the one that it is made of."""
        if self.params_file == base:
            return
        text = _HEADER.format(base=base.name, words=self.name)
        text += yaml.safe_dump(self.values, sort_keys=False, width=_WIDTH, allow_unicode=True)
        if self.params_file.is_file() and self.params_file.read_text(encoding="utf-8") == text:
            return
        self.params_file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.params_file) as partial:
            partial.write_text(text, encoding="utf-8")


def members_of(recipe: str, params_file: Path, project: Path, axes: Axes) -> list[Member]:
    """The runs that axes make of a parameter file, split by split; nothing is written.

    The one whose values are the file's own is the run of that file: what ``kineflow run`` has done before counts.

    Raises:
        KineflowError: The file is invalid, the recipe has no seed or no lists with several splits, a number is out of
            range, or a teacher's name may stand for another model from run to run.
    """
    graph, given = graph_for(recipe, params_file), read_yaml(params_file)
    checked = load_params(graph, params_file)
    if len(axes.seeds) > 1 or len(axes.splits) > 1:
        _require_fixed_teachers(graph, checked, axes)
    if axes.seeds and "seed" not in checked:
        raise KineflowError(f"--seeds: the recipe {recipe!r} has no seed", where=params_file, remedy="leave it out")
    section = _section_of_splits(graph, checked, params_file) if axes.splits else ""
    own = (checked.get("seed", 0), checked[section]["split_number"] if section else None)
    members = []
    for split, seed in product(axes.splits or (own[1],), axes.seeds or (own[0],)):
        values = dict(given)
        named = []
        if section:
            values[section] = {**given.get(section, {}), "split_number": split}
            parse_params(IngestSettings, values[section], where=section)
            named.append(f"split {split}")
        if axes.seeds:
            values["seed"] = seed
            named.append(f"seed {seed}")
        variant = "+".join(named).replace(" ", "")
        made = variant_folder(recipe, params_file, project, variant) / PARAMS_FILE
        members.append(Member(seed, split, ", ".join(named), params_file if (seed, split) == own else made, values))
    return members


def _require_fixed_teachers(graph: Graph, checked: Mapping[str, Any], axes: Axes) -> None:
    """A run registers a model, and the next one would learn from that."""
    from kineflow.serving.stored_files import MODEL_PREFIX

    for key, kind in schema_of(graph).items():
        bundle = checked[key]["bundle"] if issubclass(kind, OwnTeacherSettings) else ""
        if not bundle.startswith(MODEL_PREFIX):
            continue
        name, _, version = bundle.removeprefix(MODEL_PREFIX).rstrip("/").partition("/")
        if not version.isdecimal():
            raise KineflowError(
                f"{axes.words}: {bundle!r} may stand for another version from run to run",
                where=f"{key}.bundle",
                remedy=f"name the version that is to teach all of them, {MODEL_PREFIX}{name.partition('@')[0]}/1",
            )


def _section_of_splits(graph: Graph, checked: Mapping[str, Any], params_file: Path) -> str:
    """The section that names a layout with several splits."""
    for key, kind in schema_of(graph).items():
        if issubclass(kind, IngestSettings):
            settings = parse_params(IngestSettings, checked[key], where=key)
            if settings.may_have_several_splits:
                return key
            raise KineflowError(
                f"--splits: the layout {settings.layout!r} has no official splits",
                where=params_file,
                remedy="leave --splits out; ucf101 and hmdb51 have three, and a layout of your own may",
            )
    raise KineflowError(
        f"--splits: the recipe {graph.recipe!r} reads no lists", where=params_file, remedy="leave it out"
    )


def _numbers(option: str, text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")] if text else []
    are_numbers = all(word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS for word in words)
    if not are_numbers or len(set(map(int, words))) < len(words):
        raise KineflowError(
            f"different whole numbers with commas between them are expected, not {text!r}",
            where=option,
            remedy=f"write {option} 1,2,3",
        )
    return tuple(map(int, words))
