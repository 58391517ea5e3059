"""Stream keys: which ones the service takes, and how to make one of any names."""

import hashlib
import json
import re

from activitysmith_integrations.core.errors import InvalidRequestError, quoted

MAX_KEY_LENGTH = 255
_VALID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_API_KEY = re.compile(r"ask_\w{8,}", re.ASCII)
_INVALID_RUN = re.compile(r"[^A-Za-z0-9_]+")
_DIGEST_LENGTH = 12


def is_legal(key: str) -> bool:
    """Whether the service accepts *key* as it is: 1 to 255 of ``A-Z a-z 0-9 _ -`` (API contract)."""
    return _VALID.fullmatch(key) is not None


def looks_like_api_key(text: str) -> bool:
    """Whether somebody gave an API key for another word: such a key begins with ``ask_`` (API contract)."""
    return _API_KEY.fullmatch(text) is not None


def _is_word_like_api_key(text: str) -> bool:
    """Whether a name is no API key although it begins like one: keys have digits."""
    return looks_like_api_key(text) and not any(letter.isdigit() for letter in text)


def plain_string(text: str) -> str:
    """The characters of a string. One of a subclass, such as an enum's member, may format as something else."""
    return str.__str__(text)


def check_stream_key(stream_key: str) -> str:
    """The stream key, if the service accepts it.

    Raises:
        InvalidRequestError: It does not.
    """
    if not isinstance(stream_key, str):
        raise InvalidRequestError(("stream_key", f"must be a string, not {type(stream_key).__name__}"))
    key = plain_string(stream_key)
    if looks_like_api_key(key.strip()):
        advice = "looks like an API key, which would be in URLs and logs. A stream key that begins with ask_ needs a -"
        raise InvalidRequestError(("stream_key", advice))
    if is_legal(key):
        return key
    if not key:
        raise InvalidRequestError(("stream_key", "is empty"))
    if "{{" in key or "{%" in key:
        raise InvalidRequestError(("stream_key", f"{quoted(key)} is a template that was not rendered"))
    rule = f"{quoted(key)} is not 1 to {MAX_KEY_LENGTH} letters, digits, _ and -; stream_key() makes such a key"
    raise InvalidRequestError(("stream_key", rule))


def stream_key(*parts: str) -> str:
    """A readable stream key, which the service accepts, from any names.

    A single name that is such a key already stays as it is. Anything else is cleaned up and gets a digest
    of the original, so that names that clean up alike keep different keys. The same names give the
    same key in every process, on every machine and Python.

    Args:
        parts: One or more names, such as a DAG id and a run id.

    Returns:
        1 to 255 characters of ``A-Z a-z 0-9 _ -``.

    Raises:
        InvalidRequestError: There is no name, or one is blank or no string. It is a ``ValueError``, too.

    Examples:
        >>> stream_key("nightly-etl")
        'nightly-etl'
        >>> stream_key("etl", "scheduled__2026-11-23T00:00:00+00:00")
        'etl-scheduled__2026-11-23T00-00-00-00-00-230fa5bcd681'
    """
    if not parts:
        raise InvalidRequestError(("stream_key", "needs at least one name to be made of"))
    for position, part in enumerate(parts, start=1):
        if not isinstance(part, str) or not part.strip():
            rule = f"name {position} is {quoted(part)}; it must be a string that is not blank"
            raise InvalidRequestError(("stream_key", rule))
    names = [plain_string(part) for part in parts]
    if len(names) == 1 and is_legal(names[0]) and not _is_word_like_api_key(names[0]):
        return names[0]
    digest = hashlib.sha256(json.dumps(names).encode(), usedforsecurity=False).hexdigest()[:_DIGEST_LENGTH]
    readable = _INVALID_RUN.sub("-", "-".join(names)).strip("-")
    readable = readable[: MAX_KEY_LENGTH - _DIGEST_LENGTH - 1].rstrip("-")
    return f"{readable}-{digest}" if readable else digest
