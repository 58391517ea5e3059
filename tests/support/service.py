"""A stand-in for the service: answers from a list, keeps what reached the wire."""

import json
from typing import Any

import httpx

from activitysmith_integrations.core import RetryPolicy

KEY = "ask_sentinel_4f9d1c"
ENDED = {
    "success": True,
    "operation": "ended",
    "stream_key": "nightly",
    "activity_id": "a1",
    "devices_queued": 1,
    "timestamp": "2026-11-23T12:10:00.000Z",
}
STARTED = {**ENDED, "operation": "started"}
QUICK = RetryPolicy(max_retries=2, initial_delay=0.001, max_delay=0.001, max_elapsed=5)


class Service:
    """Stands in for the service: answers from a list, keeps what reached the wire."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.requests: list[httpx.Request] = []

    def will_answer(self, *answers: httpx.Response | Exception) -> None:
        self.answers += answers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else httpx.Response(200, json=ENDED)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) if request.content else None for request in self.requests]
