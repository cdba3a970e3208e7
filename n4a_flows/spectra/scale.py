"""Shares of light against percent, where a file names the kind of signal and leaves the scale to its values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LARGEST_SHARE = 2.0


def share_or_percent(kind: str, values: npt.ArrayLike) -> str:
    """`kind` (reflectance, transmittance), with `percent_` in front when the values cannot be shares of 1.

    Examples
    --------
    >>> share_or_percent("transmittance", [0.4, 1.01]), share_or_percent("transmittance", [40.0, 101.0])
    ('transmittance', 'percent_transmittance')
    """
    found = np.asarray(values, dtype=np.float64)
    finite = found[np.isfinite(found)]
    return f"percent_{kind}" if finite.size and np.abs(finite).max() > _LARGEST_SHARE else kind
