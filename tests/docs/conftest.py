"""A sandbox for the code of the documentation, and a browser for its pages."""

from collections.abc import Iterator

import pytest
from support import chromium
from support.sandbox import KEY, Sandbox, running_sandbox

browser, axe = chromium.browser, chromium.axe


@pytest.fixture(scope="session")
def one_sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(one_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An empty sandbox without limits, and an environment that leads to it."""
    one_sandbox.reset()
    monkeypatch.setenv("ACTIVITYSMITH_API_KEY", KEY)
    monkeypatch.setenv("ACTIVITYSMITH_BASE_URL", one_sandbox.base_url)
    return one_sandbox
