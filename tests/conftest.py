"""Tests never answer for other sources than the ones that are here, and Ctrl-C works in what they start."""

import signal
from pathlib import Path

import pytest

import activitysmith_integrations

_SOURCES = Path(__file__).resolve().parent.parent / "activitysmith_integrations"

# A shell has what it runs in the background ignore Ctrl-C, with all that is started from there.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Refuse to test a package that was installed before the sources changed."""
    tested = Path(activitysmith_integrations.__file__).parent
    stale = [
        str(source.relative_to(_SOURCES))
        for source in _SOURCES.rglob("*.py")
        if not (other := tested / source.relative_to(_SOURCES)).exists() or source.read_bytes() != other.read_bytes()
    ]
    if stale:
        pytest.exit(
            f"the package in {tested} is older than the sources: {', '.join(sorted(stale)[:5])}. "
            "`make core T=tests/core/test_keys.py` tests the sources as they are; see CONTRIBUTING.md.",
            returncode=4,
        )
