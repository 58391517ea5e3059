"""The sandbox's streams against a model of their life that fits on a page."""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.streams import Account, Limits

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MOST = 4
KEYS = st.sampled_from([f"etl-{number}" for number in range(MOST + 2)])
KINDS = st.sampled_from(["progress", "metrics", "timer"])
TITLES = st.sampled_from(["Load", "Done"])


@dataclass(frozen=True)
class Shown:
    """What a phone shows of a stream: an activity of a type with a title, running or ended."""

    activity: int
    kind: str
    title: str
    live: bool = True


class Life(RuleBasedStateMachine):
    """One account: any requests in any order, and what they are to do."""

    def __init__(self) -> None:
        super().__init__()
        numbers = itertools.count(1)
        self.account = Account(lambda: str(next(numbers)), Limits(max_concurrent=MOST, requests_per_minute=None))
        self.streams: dict[str, Shown] = {}
        self.activities = 0

    def put(self, key: str, state: dict[str, Any]) -> dict[str, Any]:
        return self.account.put(key, StreamRequest(content_state=state), NOON)

    def is_live(self, key: str) -> bool:
        return key in self.streams and self.streams[key].live

    def new_activity(self, key: str, kind: str, title: str) -> str:
        self.activities += 1
        self.streams[key] = Shown(self.activities, kind, title)
        return str(self.activities)

    @rule(key=KEYS, kind=KINDS, title=TITLES)
    def put_state(self, key: str, kind: str, title: str) -> None:
        state = {"title": title, "type": kind}
        before = self.streams.get(key)
        if before is None or not before.live:
            if sum(stream.live for stream in self.streams.values()) == MOST:
                with pytest.raises(RefusedError) as refused:
                    self.put(key, state)
                assert (refused.value.status, refused.value.body["active"]) == (429, MOST)
                return
            answer = self.put(key, state)
            assert answer["operation"] == "started"
            assert answer["activity_id"] == self.new_activity(key, kind, title)
        elif kind != before.kind:
            answer = self.put(key, state)
            assert (answer["operation"], answer["previous_activity_id"]) == ("rotated", str(before.activity))
            assert answer["activity_id"] == self.new_activity(key, kind, title)
        else:
            self.check_update(key, state, title)

    @rule(key=KEYS, title=TITLES)
    def put_without_a_type(self, key: str, title: str) -> None:
        if self.is_live(key):
            self.check_update(key, {"title": title}, title)
        else:
            with pytest.raises(InvalidRequestError, match=r"content_state\.type: is required"):
                self.put(key, {"title": title})

    def check_update(self, key: str, state: dict[str, Any], title: str) -> None:
        before = self.streams[key]
        answer = self.put(key, state)
        assert answer["operation"] == ("noop" if title == before.title else "updated")
        assert answer["activity_id"] == str(before.activity)
        self.streams[key] = replace(before, title=title)

    @rule(key=KEYS, kind=KINDS, title=st.none() | TITLES)
    def end(self, key: str, kind: str, title: str | None) -> None:
        request = EndStreamRequest(content_state={"title": title, "type": kind}) if title else None
        before = self.streams.get(key)
        if before is None:
            with pytest.raises(RefusedError) as refused:
                self.account.delete(key, request, NOON)
            assert refused.value.status == 404
            return
        answer = self.account.delete(key, request, NOON)
        assert answer["operation"] == "ended"
        assert answer.get("ignored", False) == (not before.live)
        assert answer["activity_id"] == (str(before.activity) if before.live else None)
        if before.live:
            last = replace(before, kind=kind, title=title) if title else before
            self.streams[key] = replace(last, live=False)

    @invariant()
    def phones_show_what_the_model_says(self) -> None:
        shown = {
            stream.key: Shown(int(stream.activity_id), stream.type, stream.state["title"], stream.live)
            for stream in self.account.streams
        }
        assert shown == self.streams


test_any_life_of_streams_is_as_the_model_says = Life.TestCase
