"""Texts as a screen shows them: on one line, cut between characters as a reader sees them (pure)."""

import unicodedata
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate, takewhile


def line(text: str | None, limit: int) -> str:
    """One line of at most *limit* characters; line breaks and control characters become spaces."""
    shown = "".join(visible(char) for char in (text or "")[: limit * 50])
    return cut(" ".join(shown.split()), limit)


def duration(started_at: datetime | None, ended_at: datetime | None) -> str:
    """The time between two moments in words, such as ``12 m 03 s``; empty where it is not known.

    A negative one, which is a skewed clock's, counts as not known; so do moments of which only one has a
    time zone.
    """
    if started_at is None or ended_at is None or (started_at.tzinfo is None) != (ended_at.tzinfo is None):
        return ""
    took = ended_at - started_at
    if took < timedelta(0):
        return ""
    if took < timedelta(seconds=1):
        return "less than 1 s"
    minutes, seconds = divmod(int(took.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} m"
    if minutes:
        return f"{minutes} m {seconds:02} s"
    return f"{seconds} s"


def visible(char: str) -> str:
    """The character as a screen can show it: a control character is a space, half a surrogate pair a mark."""
    category = unicodedata.category(char)
    if category == "Cs":  # half a surrogate pair, which UTF-8 cannot carry
        return "\N{REPLACEMENT CHARACTER}"
    return " " if category in ("Cc", "Zl", "Zp") else char


def cut(text: str, limit: int) -> str:
    """At most *limit* characters (code points), the last an ellipsis if something is missing."""
    if len(text) <= limit:
        return text
    ends = accumulate(len(character) for character in characters(text))
    kept = max(takewhile(lambda end: end < limit, ends), default=0)
    return text[:kept].rstrip() + "…"


def characters(text: str) -> Iterator[str]:
    """Characters as a reader counts them: what belongs to a letter or an emoji stays with it. One at least."""
    cluster = ""
    for char in text:
        if cluster and not _belongs(cluster, char):
            yield cluster
            cluster = ""
        cluster += char
    yield cluster


def _belongs(cluster: str, char: str) -> bool:
    """Whether *char* extends *cluster*: the rules of Unicode's Annex 29 that matter to a name on a screen."""
    if unicodedata.category(char) in ("Mn", "Me", "Mc") or char == "\N{ZERO WIDTH JOINER}":
        return True
    if "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f":  # skin tones, flag tags
        return True
    last = cluster[-1]
    if last == "\N{ZERO WIDTH JOINER}":
        return True
    if _is_regional(char):  # two letters make a flag
        return len(cluster) == 1 and _is_regional(last)
    # Letters of a Korean syllable stay together; a leading one begins the next.
    return "\u1100" <= last <= "\u11ff" and ("\u1160" <= char <= "\u11ff" or "\u1100" <= char <= "\u115f" >= last)


def _is_regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
