"""Amounts as Kubernetes writes them, such as ``"500m"``, ``"1.5Gi"`` or ``"2e3"``: read here and nowhere else.

Kubeflow's compiler reads fewer forms than Kubernetes does, and ends in a traceback at the others. So an amount is kept
as it was written where both read it, and else written anew.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_FORM = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(n|u|m|k|[KMGTPE]i?|[eE][+-]?[0-9]{1,2})?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_KFP_CORES = re.compile(r"[0-9]+(\.[0-9]+)?|[0-9]+m")
_KFP_BYTES = re.compile(r"[0-9]+(\.[0-9]+)?([MGTPE]i?|Ki)?")
_MOST_CORES = 100_000
_LEAST_BYTES = 2**20


def parse_quantity(text: str) -> Fraction:
    """The exact value of an amount.

    Raises:
        ValueError: Kubernetes would not read it, or it is negative.
    """
    form = _FORM.fullmatch(text)
    number, suffix = (form[1], form[2] or "") if form else ("", "?")
    if suffix in _DECIMAL:
        return Fraction(number) * Fraction(f"1e{_DECIMAL[suffix]}")
    if suffix in _BINARY:
        return Fraction(number) * (1 << _BINARY[suffix])
    if suffix[:1] in ("e", "E"):
        return Fraction(number) * Fraction(f"1e{suffix[1:]}")
    raise ValueError("an amount of Kubernetes is expected, such as '500m', '8', '1.5Gi' or '64G'")


def cores(text: str) -> str:
    """An amount of processor cores, in a form that Kubernetes and Kubeflow read alike.

    Raises:
        ValueError: It is no amount; none at all, or more than any machine has.
    """
    value = parse_quantity(text)
    if not 0 < value <= _MOST_CORES:
        raise ValueError("a number of cores is expected, such as '8' or '500m'")
    if _KFP_CORES.fullmatch(text):
        return text
    thousandths = math.ceil(value * 1000)  # Kubernetes counts no finer, and rounds up
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def size(text: str) -> str:
    """An amount of bytes, in a form that Kubernetes and Kubeflow read alike.

    Raises:
        ValueError: It is no amount; or so little that another unit was meant.
    """
    value = parse_quantity(text)
    if value < _LEAST_BYTES:
        raise ValueError("a size of a megabyte or more is expected, with its unit, such as '512Mi' or '64Gi'")
    return text if _KFP_BYTES.fullmatch(text) else str(math.ceil(value))
