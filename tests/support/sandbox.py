"""The sandbox in a process of its own, for tests that look at what reached the service."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

KEY = "ask_sentinel_4f9d1c7e"


class Sandbox:
    """A running sandbox.

    Args:
        base_url: Where its API is.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url.removesuffix("/api"), timeout=30)

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    def start(self, *stream_keys: str) -> None:
        """Start streams, so that they can end."""
        for key in stream_keys:
            self._http.put(
                f"/api/live-activity/stream/{key}",
                headers={"Authorization": f"Bearer {KEY}"},
                json={"content_state": {"title": key, "type": "progress", "percentage": 0}},
            ).raise_for_status()

    def requests(self, method: str = "DELETE") -> list[dict[str, Any]]:
        """The requests that arrived, oldest first."""
        received: list[dict[str, Any]] = self._http.get("/sandbox/streams").json()["requests"]
        return [request for request in received if request["method"] == method]

    def ends(self, stream_key: str) -> list[dict[str, Any]]:
        """The bodies of the requests to end a stream that were answered with a success."""
        return [
            request["body"]
            for request in self.requests()
            if request["stream_key"] == stream_key and request["status"] == 200
        ]

    def misbehave(self, **how: Any) -> None:
        """Tell it to misbehave; see the sandbox's ``POST /sandbox/misbehave``."""
        self._http.post("/sandbox/misbehave", json=how).raise_for_status()

    def behave(self) -> None:
        """Forget all streams, requests and misbehaviour."""
        self._http.delete("/sandbox/misbehave").raise_for_status()
        self._http.delete("/sandbox/streams").raise_for_status()
        self._http.put("/sandbox/limits", json={"max_concurrent": None, "requests_per_minute": None}).raise_for_status()


@contextmanager
def running_sandbox() -> Iterator[Sandbox]:
    """A sandbox without limits, ended at the end of the block."""
    command = [sys.executable, "-m", "activitysmith_integrations.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        sandbox = Sandbox(process.stdout.readline().split(": ", 1)[1].strip())
        try:
            sandbox.behave()
            yield sandbox
        finally:
            sandbox.close()
            process.terminate()
