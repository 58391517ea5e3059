"""The sandbox in a process of its own, for tests that look at what reached the service."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

KEY = "ask_sentinel_4f9d1c7e"


class Sandbox:
    """A running sandbox.

    Args:
        base_url: Where its API is.
        pid: Its process.
    """

    def __init__(self, base_url: str, pid: int) -> None:
        self.base_url, self.pid = base_url, pid
        self._http = httpx.Client(base_url=base_url.removesuffix("/api"), timeout=30)

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    @property
    def page_url(self) -> str:
        """Where its lock screen is."""
        return self.base_url.removesuffix("api")

    def start(self, *stream_keys: str) -> None:
        """Start streams, so that they can end."""
        for key in stream_keys:
            self.put(key, {"title": key, "type": "progress", "percentage": 0})

    def put(self, stream_key: str, content_state: dict[str, Any], **members: Any) -> None:
        """Start or update a stream."""
        self._send("PUT", stream_key, {"content_state": content_state, **members})

    def end(self, stream_key: str, **members: Any) -> None:
        """End a stream."""
        self._send("DELETE", stream_key, members)

    def _send(self, method: str, stream_key: str, body: dict[str, Any]) -> None:
        path, headers = f"/api/live-activity/stream/{stream_key}", {"Authorization": f"Bearer {KEY}"}
        self._http.request(method, path, headers=headers, json=body).raise_for_status()

    def requests(self, method: str = "DELETE") -> list[dict[str, Any]]:
        """The requests that arrived, oldest first."""
        return [request for request in self.all_requests() if request["method"] == method]

    def all_requests(self) -> list[dict[str, Any]]:
        """The requests that arrived, in the order in which they were worked on."""
        received: list[dict[str, Any]] = self._http.get("/sandbox/streams").json()["requests"]
        return received

    def story(self, stream_key: str) -> list[dict[str, Any]]:
        """All requests about a stream, oldest first."""
        return [request for request in self.all_requests() if request["stream_key"] == stream_key]

    def streams(self) -> dict[str, dict[str, Any]]:
        """What it knows of each stream, by key."""
        return {stream["stream_key"]: stream for stream in self._http.get("/sandbox/streams").json()["streams"]}

    def living(self) -> list[str]:
        """The keys of the streams that have not ended."""
        return [key for key, stream in self.streams().items() if stream["live"]]

    def ends(self, stream_key: str) -> list[dict[str, Any]]:
        """The bodies of the requests to end a stream that were answered with a success."""
        return [
            request["body"]
            for request in self.requests()
            if request["stream_key"] == stream_key and request["status"] == 200
        ]

    def inject_fault(self, **fault: Any) -> None:
        """Let the next requests fail; see the sandbox's ``POST /sandbox/faults``."""
        self._http.post("/sandbox/faults", json=fault).raise_for_status()

    def faults(self) -> list[dict[str, Any]]:
        """The faults that wait, each with the number of requests that it still waits for."""
        waiting: list[dict[str, Any]] = self._http.get("/sandbox/faults").json()["faults"]
        return waiting

    def clear_faults(self) -> None:
        """Let no further request fail."""
        self._http.delete("/sandbox/faults").raise_for_status()

    def limit(self, *, max_concurrent: int | None = None, requests_per_minute: int | None = None) -> None:
        """Set its limits; None is unlimited."""
        limits = {"max_concurrent": max_concurrent, "requests_per_minute": requests_per_minute}
        self._http.put("/sandbox/limits", json=limits).raise_for_status()

    def reset(self) -> None:
        """Forget all streams, requests, faults and limits."""
        self.clear_faults()
        self._http.delete("/sandbox/streams").raise_for_status()
        self.limit()


@contextmanager
def running_sandbox(port: int = 0, programs: Path = Path(sys.executable).parent) -> Iterator[Sandbox]:
    """A sandbox without limits, ended at the end of the block.

    Args:
        port: Where it listens; 0 takes a free one.
        programs: The folder of the Python that it runs in.
    """
    # -P: the package that is installed, not the one in the folder that the tests are run from.
    command = [str(programs / "python"), "-P", "-m", "activitysmith_integrations.sandbox", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        sandbox = Sandbox(process.stdout.readline().split(": ", 1)[1].strip(), process.pid)
        # It writes a line for each request, and would block once nobody reads them.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        try:
            sandbox.reset()
            yield sandbox
        finally:
            sandbox.close()
            process.terminate()
            reader.join()
