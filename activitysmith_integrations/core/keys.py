"""Stream keys from any names."""

import hashlib
import json
import re

MAX_KEY_LENGTH = 255
_LEGAL = re.compile(r"[A-Za-z0-9_-]{1,255}")
_ILLEGAL_RUN = re.compile(r"[^A-Za-z0-9_]+")
_DIGEST_LENGTH = 12


def is_legal(key: str) -> bool:
    """Whether the service accepts *key* as it is: 1 to 255 of ``A-Z a-z 0-9 _ -`` (API contract)."""
    return _LEGAL.fullmatch(key) is not None


def stream_key(*parts: str) -> str:
    """A readable, legal stream key from any names.

    A single name that is legal already stays as it is. Anything else is cleaned up and gets a digest
    of the original, so that names that clean up alike keep different keys. The same names give the
    same key in every process, on every machine and Python.

    Args:
        parts: One or more names, such as a DAG id and a run id.

    Returns:
        1 to 255 characters of ``A-Z a-z 0-9 _ -``.

    Raises:
        ValueError: There is no name, or one is blank or no string.

    Examples:
        >>> stream_key("nightly-etl")
        'nightly-etl'
        >>> stream_key("etl", "scheduled__2026-11-23T00:00:00+00:00")
        'etl-scheduled__2026-11-23T00-00-00-00-00-ea394e8bb2f4'
    """
    if not parts:
        raise ValueError("stream_key: give at least one name")
    for position, part in enumerate(parts, start=1):
        if not isinstance(part, str) or not part.strip():
            raise ValueError(f"stream_key: name {position} is {part!r}; it must be a string that is not blank")
    if len(parts) == 1 and is_legal(parts[0]):
        return parts[0]
    original = json.dumps(parts).encode()
    digest = hashlib.sha256(original, usedforsecurity=False).hexdigest()[:_DIGEST_LENGTH]
    readable = _ILLEGAL_RUN.sub("-", "-".join(parts)).strip("-")
    readable = readable[: MAX_KEY_LENGTH - _DIGEST_LENGTH - 1].rstrip("-")
    return f"{readable}-{digest}" if readable else digest
