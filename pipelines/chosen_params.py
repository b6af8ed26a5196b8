"""The parameter file of a project whose videos have been looked at: each chosen value with the reason beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kineflow.spec.split import Split
from kineflow.storage.media import is_remote
from kineflow.storage.names import printable
from kineflow.survey.survey import Surveyed

FOLDS_RECIPE = "few_clips"
"""The recipe that chooses among models by folds of groups."""
TRAINING_RECIPE = "d3d"
"""The recipe that trains a teacher and students on one split."""

CLIPS_FILE = "clips.csv"
_WIDTH, _LONGEST = 28, 120  # of key and value before a reason, and of a line


@dataclass(frozen=True)
class Setting:
    """One line of a parameter file.

    Attributes:
        section: It stands in; empty for the file's own.
        key: Its name.
        value: Plain.
        why: The reason; empty where there is nothing to say.
    """

    section: str
    key: str
    value: Any
    why: str = ""


def settings_of(surveyed: Surveyed, recipe: str, name: str, project: Path) -> list[Setting]:
    """What is chosen for a set.

    Args:
        surveyed: What is known of it.
        project: Its folder; a source in it is named relative to it.
        recipe: :data:`FOLDS_RECIPE` and :data:`TRAINING_RECIPE` get all sections; another the first three.
        name: Of the model that will be registered.
    """
    settings = [Setting("", "seed", surveyed.wanted.seed, "of splits, weights and batches"), *_data(surveyed, project)]
    if recipe == FOLDS_RECIPE:
        return [*settings, *_selection(surveyed, name)]
    return [*settings, *_training(surveyed, name)] if recipe == TRAINING_RECIPE else settings


def text_of(settings: Sequence[Setting], heading: str) -> str:
    """The settings as YAML, below a heading of comment lines."""
    lines = [f"# {printable(line)}" for line in heading.splitlines()]
    section = ""
    for setting in settings:
        if setting.section != section:
            section = setting.section
            lines += ["", f"{section}:"]
        plain = f"{'  ' if section else ''}{setting.key}: {plain_yaml(setting.value)}"
        lines += _commented(plain, printable(setting.why))
    return "\n".join(lines) + "\n"


def _commented(plain: str, why: str) -> list[str]:
    """A line with its reason after it, or before it where that would be too long."""
    if not why:
        return [plain]
    line = f"{plain:<{_WIDTH}}  # {why}"
    return [line] if len(line) <= _LONGEST else [f"{' ' * (len(plain) - len(plain.lstrip()))}# {why}:", plain]


def merged_into(text: str, settings: Sequence[Setting], heading: str, name: str) -> str:
    """A recipe's own parameters with the sections that ``settings`` have in place of its own, and the model's name."""
    chosen = text_of(settings, heading)
    replaced = {"seed", *(setting.section for setting in settings if setting.section)}
    blocks = re.split(r"(?m)^(?=\w)", text)[1:]
    kept = [block for block in blocks if block.partition(":")[0] not in replaced]
    plain = plain_yaml(name)  # 2024 is a number, if nobody quotes it
    rest = re.sub(r"(?m)^(registration:\n  name:) .*$", rf"\g<1> {plain}", "".join(kept))
    return f"{chosen}\n{rest}"


def _data(surveyed: Surveyed, project: Path) -> list[Setting]:
    choices = surveyed.choices
    needed = list(map(str, whole_splits([(clip.listed.split, clip.listed.label) for clip in surveyed.clips])))
    return [
        Setting("ingestion", "source", _source(surveyed.found.source.root, project)),
        Setting("ingestion", "layout", "csv"),
        Setting("ingestion", "annotations", CLIPS_FILE, "path, label, split and group of each clip; yours to correct"),
        Setting("ingestion", "fps", choices.fps.value, choices.fps.why),
        Setting("ingestion", "short_side", choices.short_side.value, choices.short_side.why),
        Setting("ingestion", "workers", choices.workers.value, "one a core"),
        Setting(
            "validation",
            "require_every_class_in",
            needed,
            "the recipe makes folds of train" if surveyed.folds else "the splits of clips.csv",
        ),
        Setting("flow", "preset", choices.preset.value, choices.preset.why),
        Setting("flow", "bound_px", choices.bound_px.value, choices.bound_px.why),
    ]


def whole_splits(clips: Sequence[tuple[Split, str | None]]) -> list[Split]:
    """Splits that have every class, and ``train``: where a class comes from too few groups for all, others lack it."""
    there = {split: {label for of, label in clips if of is split} for split in (Split.TRAIN, Split.VAL, Split.TEST)}
    classes = set[str | None]().union(*there.values())
    return [split for split, labels in there.items() if labels and (labels == classes or split is Split.TRAIN)]


def _source(root: str, project: Path) -> str:
    if is_remote(root):
        return root
    real = Path(root).resolve()
    return str(real.relative_to(project) if real.is_relative_to(project) else real)


def _selection(surveyed: Surveyed, name: str) -> list[Setting]:
    groups = len({clip.listed.group for clip in surveyed.clips})
    return [
        *_descriptor(surveyed),
        Setting("selection", "folds", surveyed.folds, f"of {groups} groups; every clip is tested once"),
        Setting("registration", "name", name),
        Setting("registration", "primary_metric", "top1"),
        Setting("registration", "above_baselines", True, "only what is shown to beat every trivial baseline"),
    ]


def _descriptor(surveyed: Surveyed) -> list[Setting]:
    described = surveyed.choices.descriptor
    return [
        Setting("descriptor", "backbone", described.value.backbone),
        Setting("descriptor", "frames", described.value.frames, described.why),
        Setting("descriptor", "crop", described.value.crop, "the whole frame, squashed"),
    ]


def _training(surveyed: Surveyed, name: str) -> list[Setting]:
    choices = surveyed.choices
    linear = ["blend"] if choices.blend.value else []
    size, unlabelled = choices.network.value, any(c.listed.split is Split.UNLABELLED for c in surveyed.clips)
    students = ["distilled", "student"] if unlabelled else ["student"]
    return [
        Setting("network", "architecture", "s3d_g"),
        Setting("network", "width", size.width, choices.network.why),
        Setting("network", "last_stage", size.last_stage),
        Setting("network", "bn_momentum", size.bn_momentum, "the running statistics have to settle within the run"),
        Setting("network", "dropout", 0.0 if size.width < 0.5 else 0.2),
        Setting("network", "flow_from_rgb", False, "that rule is for weights that have learnt something"),
        Setting("network", "flow_std", choices.flow_std.value, choices.flow_std.why),
        *_run(surveyed, "teacher"),
        *_run(surveyed, "student"),
        Setting("distillation", "kd_weight", 0.3, "the demo's"),
        Setting("distillation", "layer", "logits"),
        Setting(
            "distillation",
            "unlabelled_batch_size",
            choices.batch.value if unlabelled else 0,
            "" if unlabelled else "there are no unlabelled clips",
        ),
        *(_descriptor(surveyed) if linear else []),
        Setting("evaluation", "clips_per_video", choices.views.value, choices.views.why),
        Setting("evaluation", "batch_size", 2 * choices.batch.value),
        Setting("evaluation", "student", "student"),
        Setting("evaluation", "choose_among", [*linear, "plain", *students], choices.blend.why),
        Setting("evaluation", "baseline", "plain"),
        Setting("evaluation", "fusion", [{"models": [each, "student"]} for each in ("teacher", *linear)]),
        Setting("registration", "name", name),
        Setting("registration", "primary_metric", "top1"),
        Setting("registration", "above_baselines", True, "only what is shown to beat every trivial baseline"),
    ]


def _run(surveyed: Surveyed, section: str) -> list[Setting]:
    """Teacher and students see the same clips; their steps differ."""
    choices = surveyed.choices
    window, crop = choices.window.value, choices.network.value.crop
    steps = getattr(choices.steps.value, section)
    optimiser = {
        "name": "adamw", "learning_rate": 0.004, "weight_decay": 0.02, "warmup_ratio": 0.1, "schedule": "cosine"
    }  # fmt: skip
    return [
        Setting(section, "frames", window.frames, choices.window.why),
        Setting(section, "stride_frames", window.stride_frames),
        Setting(section, "short_side", crop, "as the crop: the whole height is seen"),
        Setting(section, "crop", crop),
        Setting(section, "fit", choices.fit.value, choices.fit.why),
        Setting(section, "flip", choices.flip.value, choices.flip.why),
        Setting(section, "steps", steps, choices.steps.why if section == "teacher" else "five for a teacher's three"),
        Setting(section, "validate_every_steps", steps // choices.steps.value.rounds),
        Setting(section, "batch_size", choices.batch.value, choices.batch.why),
        Setting(section, "monitor", choices.monitor.value, choices.monitor.why),
        Setting(section, "precision", choices.precision.value, choices.precision.why),
        Setting(section, "optimiser", optimiser, "the demo's"),
        Setting(section, "cache_mb", choices.cache_mb.value, choices.cache_mb.why),
    ]


def plain_yaml(value: object) -> str:
    """A value as it stands in a parameter file, on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    )
