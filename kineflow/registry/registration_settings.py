"""Under which name a model is registered, and what is asked of it later."""

from __future__ import annotations

from pydantic import Field

from kineflow.exporting.formats import ExportFormat
from kineflow.registry.aliases import NAME_PATTERN
from kineflow.registry.policy import Gate


class RegistrationSettings(Gate):
    """Under which name a model is registered, and what promoting it will ask for."""

    name: str = Field(pattern=NAME_PATTERN)
    """Of the registered model: letters, digits, ``.``, ``_`` and ``-``."""

    intended_use: str = Field(default="", max_length=2000)
    """What the model is for, and what not, in your words: the head of its page; empty: which classes it knows."""

    tags: dict[str, str] = Field(default_factory=dict)
    """Further facts to keep with the version."""

    export: tuple[ExportFormat, ...] = ()
    """Forms in which the network is stored with the version too, to be run without Kineflow: ``onnx`` (wants the extra
    ``export``), ``torch``. Empty: none."""

    above_baselines: bool = False
    """Register the model only if its 95 % interval over every trivial baseline of the evaluation, chance among them,
    lies above 0; else say by how much it fails, and register nothing."""

    @property
    def gate(self) -> Gate:
        """What promoting it will ask for, alone."""
        return Gate.model_validate(self.model_dump(include=set(Gate.model_fields)))
