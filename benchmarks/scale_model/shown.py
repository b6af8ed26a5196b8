"""Numbers as people read them: two or three digits and a unit."""

from __future__ import annotations

_BYTES = (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_COUNTS = (("G", 1e9), ("M", 1e6), ("k", 1e3))
_MINUTE_S, _HOUR_S, _DAY_S, _YEAR_S = 60.0, 3600.0, 86400.0, 365 * 86400.0
_NEVER_YEARS = 100


def size(value: float) -> str:
    """Bytes, powers of ten: ``6.1 GB``."""
    return _scaled(value, _BYTES, "B")


def count(value: float) -> str:
    """``306 k``."""
    return _scaled(value, _COUNTS, "").strip()


def hours(value: float) -> str:
    """Hours as hours, whatever their count: ``1,300``; short ones with a digit behind the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """In the unit that suits: ``45 s``, ``12 min``, ``3.4 h``, ``5 days``, ``2 years``; past a hundred, ``never``."""
    if seconds >= _NEVER_YEARS * _YEAR_S:
        return "never"
    for unit, least, per in (
        ("years", _YEAR_S, _YEAR_S),
        ("days", 3 * _DAY_S, _DAY_S),
        ("h", 2 * _HOUR_S, _HOUR_S),
        ("min", 2 * _MINUTE_S, _MINUTE_S),
    ):
        if seconds >= least:
            return f"{rounded(seconds / per)} {unit}"
    return f"{rounded(seconds)} s"


def rounded(value: float) -> str:
    """Two digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _scaled(value: float, scale: tuple[tuple[str, float], ...], base: str) -> str:
    for unit, least in scale:
        if value >= least:
            number = value / least
            return f"{number:.3g} {unit}" if number < 999.5 else f"{number:,.0f} {unit}"
    return f"{value:,.3g} {base}"
