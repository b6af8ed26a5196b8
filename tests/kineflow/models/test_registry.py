from __future__ import annotations

import subprocess
import sys

import pytest

from kineflow.errors import KineflowError
from kineflow.models.registry import create_model, hyperparameters_of, list_models, register_model


def test_the_networks_are_listed_in_order() -> None:
    assert list_models() == sorted(list_models())
    assert {"s3d", "s3d_g"} <= set(list_models())


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KineflowError, match=r"'s3dg'(.|\n)*s3d, s3d_g"):
        create_model("s3dg", num_classes=2)


def test_unknown_hyperparameter_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KineflowError, match=r"'widht'(.|\n)*dropout(.|\n)*width"):
        create_model("s3d", num_classes=2, widht=0.5)


@pytest.mark.parametrize("wrong", [{"num_classes": -1}, {"num_classes": 2, "in_channels": 0}])
def test_impossible_ends_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(KineflowError, match="cannot have"):
        create_model("s3d", **wrong)


def test_hyperparameters_leave_out_what_every_network_has() -> None:
    known = hyperparameters_of("s3d_g")
    assert {"width", "dropout"} <= set(known)
    assert not {"num_classes", "in_channels"} & set(known)


def test_a_name_is_given_once() -> None:
    def s3d(**_: int) -> None: ...

    list_models()
    with pytest.raises(ValueError, match="two networks"):
        register_model(s3d)  # type: ignore[type-var]


def test_importing_the_registry_imports_no_torch() -> None:
    code = "import sys, kineflow.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
