"""The requests that are kept."""

import json

from activitysmith_integrations.sandbox.request_log import RequestLog


def test_requests_keep_their_numbers_when_older_ones_are_dropped() -> None:
    log = RequestLog(max_requests=2, max_bytes=1000)
    assert [log.add({"body": name}) for name in "abc"] == [1, 2, 3]
    assert [log.find(number) for number in range(5)] == [None, None, b'{"body": "b"}', b'{"body": "c"}', None]
    assert log.requests() == [b'{"body": "b"}', b'{"body": "c"}']
    log.clear()
    assert (log.find(3), log.requests(), log.add({})) == (None, [], 4)


def test_large_requests_are_dropped_earlier_and_the_latest_never() -> None:
    log = RequestLog(max_requests=100, max_bytes=1000)
    for number in range(100):
        log.add({"number": number, "body": "x" * 200})
    assert [json.loads(request)["number"] for request in log.requests()] == [96, 97, 98, 99]
    log.add({"body": "x" * 2000})
    assert len(log.requests()) == 1
    log.add({})
    assert log.requests() == [b"{}"]
