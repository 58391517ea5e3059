"""Steps as the segments of a bar. Pure, and light: an engine's workers load it for every task."""

MAX_SEGMENTS = 10


def fold_steps(done: int | None, total: int | None) -> tuple[int, int] | None:
    """Steps as segments that can be told apart on a phone.

    Args:
        done: How many are complete.
        total: How many there are.

    Returns:
        Complete segments and all segments, at most 10; None where steps cannot be counted. All are complete
        only if every step is, none is only if no step is.
    """
    if done is None or total is None or total < 1:
        return None
    done = max(0, min(done, total))
    if total <= MAX_SEGMENTS:
        return done, total
    if done in (0, total):
        return done * MAX_SEGMENTS // total, MAX_SEGMENTS
    return max(1, done * MAX_SEGMENTS // total), MAX_SEGMENTS
