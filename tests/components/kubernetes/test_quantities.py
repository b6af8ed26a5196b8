from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kfp.compiler.compiler_utils import _cpu_to_float, _memory_to_float

from components.kubernetes.quantities import cores, parse_quantity, size

SUFFIXES = ("", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E6", "e-2")
AMOUNTS = st.builds(
    lambda number, suffix: f"{number}{suffix}",
    st.one_of(st.integers(0, 10**9), st.decimals(0, 10**6, places=3)),
    st.sampled_from(SUFFIXES),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5Gi", 3 * 2**29), ("500m", Fraction(1, 2)), ("100k", 100_000), ("1E", 10**18), ("1E3", 1000),
        ("1e-2", Fraction(1, 100)), (".5", Fraction(1, 2)), ("2.", 2), ("7n", Fraction(7, 10**9)),
    ],
)  # fmt: skip
def test_amounts_are_read_as_kubernetes_reads_them(text: str, value: Fraction) -> None:
    """k8s.io/apimachinery/pkg/api/resource/quantity.go: the grammar in the comment of Quantity."""
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "lots", "1 Gi", "1gi", "1K", "-1", "1e", "1e1000000000", "1.5.2", "Gi", "0x1"])
def test_what_kubernetes_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an amount of Kubernetes is expected"):
        parse_quantity(text)


@given(AMOUNTS)
def test_what_is_accepted_is_read_alike_by_kubeflows_compiler(text: str) -> None:
    for accept, compiled, unit in ((cores, _cpu_to_float, 1), (size, _memory_to_float, 10**9)):
        try:
            accepted = accept(text)
        except ValueError:
            continue
        exact = parse_quantity(text)
        rounded = {"abs": float(Fraction(1, 1000) / unit), "rel": 1e-12}
        assert compiled(accepted) == pytest.approx(float(exact / unit), **rounded)
        assert parse_quantity(accepted) >= exact


@pytest.mark.parametrize(("accept", "text"), [(cores, "0"), (cores, "8Gi"), (size, "64"), (size, "500m")])
def test_an_amount_of_something_else_is_refused(accept: object, text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        accept(text)  # type: ignore[operator]
