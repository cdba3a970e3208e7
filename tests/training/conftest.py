"""Definitions and spectra that the tests of training share."""

from __future__ import annotations

import pytest

from n4a_flows.spectra import Spectra, load_tecator


@pytest.fixture(scope="session")
def tecator() -> Spectra:
    return load_tecator()
