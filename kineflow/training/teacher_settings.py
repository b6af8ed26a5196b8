"""Where a teacher comes from that the run does not train."""

from __future__ import annotations

from pydantic import Field, field_validator

from kineflow.models.card import check_model_name
from kineflow.storage.config import Params, faults_of_a_key

_NAMES_OF_RECIPES = (
    "teacher", "student", "plain", "distilled", "blend", "fixmatch", "flow_labels", "mean_teacher",
)  # fmt: skip


class OwnTeacherSettings(Params):
    """A model that Kineflow has trained before.

    Attributes:
        bundle: A model's folder, ``s3://bucket/prefix``, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or
            ``runs:/RUN_ID``. What an alias stands for is looked up once, when the step runs; a version never changes.
        name: By which ``distillation.terms`` and the student's card know it.
        sha256: Of its weights, hex: the tag ``weights.sha256`` of a registered version, or ``teacher_weights_sha256``
            in the ``model.json`` of a student; empty: not checked.
    """

    bundle: str = Field(min_length=1, json_schema_extra={"is_input": True})
    name: str = Field("own", min_length=1, max_length=100)
    sha256: str = Field("", pattern="^([0-9a-fA-F]{64})?$")

    @field_validator("name")
    @classmethod
    def _is_no_name_of_the_recipe(cls, name: str) -> str:
        with faults_of_a_key():
            check_model_name(name)
        if name in _NAMES_OF_RECIPES:
            raise ValueError(f"is what a model of the recipe's own is called, as {', '.join(_NAMES_OF_RECIPES)} are")
        return name
