"""The latest requests, bounded in number and size. They are kept as JSON, which is small and is sent as it is."""

import json
from collections import deque
from typing import Any


class RequestLog:
    """The latest requests, each with a number of its own.

    Args:
        max_requests: How many are kept.
        max_bytes: How large they may be together, as JSON.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self._requests: deque[bytes] = deque()
        self._bytes = 0
        self._count = 0

    def add(self, request: dict[str, Any]) -> int:
        """Keep a request.

        Args:
            request: All that is known of it.

        Returns:
            Its number.
        """
        encoded = json.dumps(request).encode()
        self._count += 1
        self._requests.append(encoded)
        self._bytes += len(encoded)
        while len(self._requests) > self._max_requests or (self._bytes > self._max_bytes and len(self._requests) > 1):
            self._bytes -= len(self._requests.popleft())
        return self._count

    def find(self, number: int) -> bytes | None:
        """A request by its number, as JSON; None where it is no longer kept or never was."""
        index = number - self._count + len(self._requests) - 1
        return self._requests[index] if 0 <= index < len(self._requests) else None

    def requests(self) -> list[bytes]:
        """All that are kept, oldest first, each as JSON."""
        return list(self._requests)

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._requests.clear()
        self._bytes = 0
