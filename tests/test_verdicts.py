from typing import Any

from verdicts import Run, verdict


def stream(kind: str, *, live: bool = False) -> dict[str, Any]:
    return {"live": live, "content_state": {"type": kind}}


def test_a_run_is_right_where_its_stream_ended_with_the_picture_of_its_result() -> None:
    streams = {"a": stream("progress"), "b": stream("alert"), "c": stream("alert"), "d": stream("progress")}
    seen = verdict([Run("a", False), Run("b", True), Run("c", False), Run("d", True)], streams, "")
    assert (seen.runs, seen.started, seen.right, seen.wrong) == (4, 4, 2, ["c", "d"])


def test_a_stream_that_still_lives_and_a_failure_that_nobody_saw_are_told_apart() -> None:
    seen = verdict([Run("a", False), Run("b", True)], {"a": stream("progress", live=True)}, "")
    assert (seen.live, seen.unseen, seen.said) == (["a"], ["b"], 0)


def test_a_success_that_was_never_shown_is_nobodys_loss() -> None:
    seen = verdict([Run("a", False)], {}, "")
    assert (seen.started, seen.right, seen.wrong, seen.live, seen.unseen) == (0, 0, [], [], [])


def test_a_log_line_counts_where_it_says_that_something_did_not_reach_the_service() -> None:
    log = """
    Live Activity stream 'a' may not have been ended: no answer
    Live Activity stream 'b' had not been started, and was not started to show the failure: no place
    Updated Live Activity stream 'c': 1 of 3.
    """
    streams = {"a": stream("progress", live=True), "c": stream("progress", live=True)}
    assert verdict([Run("a", False), Run("b", True), Run("c", False)], streams, log).said == 2


def test_a_run_that_is_not_over_is_not_judged() -> None:
    seen = verdict([Run("a", None)], {"a": stream("progress", live=True)}, "")
    assert (seen.open, seen.live, seen.right) == (1, [], 0)
