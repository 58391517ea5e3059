from typing import Any

import pytest
from accounting import account, floor


def request(stream: str, second: float, *, status: int = 200, run: str | None = None) -> dict[str, Any]:
    return {
        "method": "DELETE",
        "stream_key": stream,
        "status": status,
        "time": f"2026-11-23T03:00:{second:06.3f}Z",
        "body": {"metadata": {"run": stream if run is None else run}},
    }


@pytest.mark.parametrize("words", ["was not ended", "may not have been ended"])
def test_a_run_is_delivered_said_in_the_log_or_lost(words: str) -> None:
    requests = [request("a", 0), request("b", 1, status=429), request("c", 2, status=429)]
    seen = account(["a", "b", "c", "d"], requests, f"ERROR - Live Activity stream 'b' {words}: not now")
    assert (seen.runs, seen.delivered, seen.said, seen.lost) == (4, 1, 1, ["c", "d"])


def test_a_stream_that_ended_later_counts_as_delivered_only() -> None:
    requests = [request("a", 0, status=429), request("a", 9)]
    seen = account(["a"], requests, "Live Activity stream 'a' was not ended: not now")
    assert (seen.delivered, seen.said, seen.refused) == (1, 0, 1)


def test_an_end_that_another_run_sent_is_wrong_even_where_it_was_refused() -> None:
    requests = [request("a", 0, run="b"), request("b", 1, run="a", status=429)]
    assert account(["a", "b"], requests, "").wrong == ["b -> a", "a -> b"]


def test_an_end_for_a_stream_of_nobody_is_wrong() -> None:
    assert account(["a"], [request("z", 0)], "").wrong == ["z -> z"]


def test_an_end_without_a_body_is_wrong_since_nobody_knows_whose_it_is() -> None:
    assert account(["a"], [request("a", 0) | {"body": None}], "").wrong == ["None -> a"]


def test_an_end_that_is_sent_again_is_counted_as_such() -> None:
    seen = account(["a"], [request("a", 0), request("a", 1)], "")
    assert (seen.delivered, seen.again) == (1, 1)


def test_requests_that_started_streams_do_not_count() -> None:
    assert account(["a"], [request("a", 0) | {"method": "PUT"}], "").lost == ["a"]


def test_the_window_ends_with_the_last_run_and_the_time_with_the_last_end() -> None:
    requests = [request("a", 1, status=429), request("b", 3.5), request("a", 31), request("b", 50, status=429)]
    seen = account(["a", "b"], requests, "")
    assert (seen.window, seen.seconds) == (2.5, 30)


def test_the_longest_callback_is_found_among_those_of_the_part() -> None:
    log = "The callback of a took 0.250 s\nThe callback of b took 9.010 s\nThe callback of other took 99.000 s"
    assert account(["a", "b"], [], log).longest_callback == 9.01
    assert account(["a", "b"], [], "").longest_callback is None


@pytest.mark.parametrize(("ends", "seconds"), [(0, 0), (1, 0), (60, 0), (61, 60), (120, 60), (121, 120), (200, 180)])
def test_the_floor_is_a_minute_for_each_full_batch_before_the_last(ends: int, seconds: float) -> None:
    assert floor(ends, 60) == seconds
