"""What the first lines of a table say: which fields are the points of an axis, in which unit."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

from n4a_flows.spectra.guards import plausible
from n4a_flows.storage.axis import Unit

_UNIT = r"nm|nanomet(?:er|re)s?|µm|μm|um|micromet(?:er|re)s?|microns?|cm-1|cm\^-1|cm\^\(-1\)|1/cm|cm⁻¹|cm−1|cm\*\*-1"
_NAME = re.compile(
    rf"(?P<prefix>x|wl|wn|w|wave|wavelength|wavenumber|lambda|λ|nm|abs|absorbance|a|r|refl|reflectance|t|spc|spec|spectrum|nir|v)?"
    rf"[\s_.\-@(\[]*(?P<value>\d+(?:[.,]\d+)?)[\s_.]*[\[(]?(?P<unit>{_UNIT})?[\])]*",
    re.IGNORECASE,
)
_CORNER = re.compile(
    rf"(?:#|%|axis)?\W*(?:wave\s?-?_?length|wave\s?-?_?number|lambda|λ|wl|wn|wvl|freq(?:uency)?|x|{_UNIT}|spectral\s?axis)s?"
    r"(?![a-z]).*",
    re.IGNORECASE | re.DOTALL,
)
_SAID_UNIT = re.compile(rf"(?<![a-z])(?:{_UNIT})(?![a-z])", re.IGNORECASE)
_WAVENUMBER = re.compile(r"wave[\s_-]{0,2}number", re.IGNORECASE)
_SIGNALS = (
    (re.compile(r"absorbance|absorption|log\s*\(?\s*1\s*/\s*[rt]\s*\)?|\ba\.\s?u\.", re.IGNORECASE), "absorbance"),
    (re.compile(r"(?:%|percent)\W*(?:r\b|reflect)|reflect\w*\W*(?:%|percent)", re.IGNORECASE), "percent_reflectance"),
    (re.compile(r"(?:%|percent)\W*(?:t\b|transm)|transm\w*\W*(?:%|percent)", re.IGNORECASE), "percent_transmittance"),
    (re.compile(r"reflectance|reflectivity", re.IGNORECASE), "reflectance"),
    (re.compile(r"transmittance|transmission", re.IGNORECASE), "transmittance"),
)

_LOOK = 200
"""Characters of a name that are looked at; what is longer is no name of a point."""


@dataclass(frozen=True)
class Points:
    """The fields of a header that are points.

    Attributes
    ----------
    indices
        Which fields.
    values
        The numbers in their names.
    unit
        As the names say it, None when they do not.
    """

    indices: tuple[int, ...]
    values: tuple[float, ...]
    unit: Unit | None


# The files of an instrument have one header, and there are many of them.
@lru_cache(maxsize=8)
def points_of(
    header: tuple[str, ...], named: frozenset[str] = frozenset(), *, decimal_comma: bool = False
) -> Points | None:
    """The points that a header names, in plain numbers or as in `X950`, `950 nm`; None when there are not two of them."""
    plain: list[tuple[int, float]] = []
    affixed: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for i, name in enumerate(header):
        if name in named:
            continue
        number = point_of(name, decimal_comma=decimal_comma)
        if number is not None:
            plain.append((i, number))
        elif found := _NAME.fullmatch(name[:_LOOK].strip()):
            value = float(found["value"].replace(",", "."))
            affixed[(found["prefix"] or "").lower(), (found["unit"] or "").lower()].append((i, value))
    if len(plain) >= 2:
        return _points(plain, None)
    if not affixed:
        return None
    (prefix, suffix), best = max(affixed.items(), key=lambda item: len(item[1]))
    unit = unit_in(suffix) or unit_in(prefix)
    if len(best) < 2 or not plausible([value for _, value in best], unit):
        return None
    return _points(best, unit)


def _points(found: list[tuple[int, float]], unit: Unit | None) -> Points:
    indices, values = zip(*found, strict=True)
    return Points(indices, values, unit)


def number_of(text: str, *, decimal_comma: bool = False) -> float | None:
    """The finite number that a text is, None when it is none; 1.234 is none where 0,5 is a half, for it may be thousands."""
    if decimal_comma:
        text = "x" if "." in text else text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def point_of(name: str, *, decimal_comma: bool = False) -> float | None:
    """The number that the name of a point is; names keep their point where values have a comma."""
    if decimal_comma and "." in name:
        return number_of(name)
    return number_of(name, decimal_comma=decimal_comma)


def is_corner(text: str) -> bool:
    """Whether a text is what stands above a column of wavelengths or wavenumbers."""
    return _CORNER.fullmatch(text[:_LOOK].strip()) is not None


def unit_in(text: str) -> Unit | None:
    """The unit of an axis that a text names; wavenumbers are in cm-1 where it does not say."""
    found = _SAID_UNIT.search(text[:_LOOK])
    if not found:
        return "cm-1" if _WAVENUMBER.search(text[:_LOOK]) else None
    word = found[0].lower()
    if "cm" in word:
        return "cm-1"
    return "nm" if word.startswith("n") else "um"


def signal_in(text: str) -> str | None:
    """The signal that a text names."""
    return next((signal for pattern, signal in _SIGNALS if pattern.search(text[:_LOOK])), None)
