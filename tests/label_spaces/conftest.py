"""No model is built here, so nothing has to be forgotten: clearing costs 0.5 s a test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def forget_models() -> None:
    """Replaces the fixture of the suite."""
