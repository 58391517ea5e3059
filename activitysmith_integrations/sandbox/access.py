"""Which requests the sandbox answers at all, so that no website can read or change it through somebody's browser.

A page of another site can send requests to this machine. It cannot read the answers, unless it lets its own host name
resolve to this machine's address (DNS rebinding), which the Host header shows. And it cannot send a body as JSON
without a CORS preflight, which the sandbox never allows. Clients other than browsers send no ``Origin`` and no
``Sec-Fetch-Site``, and are not affected.
"""

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from activitysmith_integrations.core.hosts import is_loopback
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.responses import error_response

_HOST_HEADER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


class AccessMiddleware:
    """Answers requests that a website may have sent with 403, and bodies that are not JSON with 415.

    Starlette's ``TrustedHostMiddleware`` is not enough: it knows no IP address as such, and Starlette 0.48 no IPv6
    address at all.

    Args:
        app: The app that answers the others.
        host: The host name or address that the sandbox is served on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "http":
            try:
                check_access(scope["method"], Headers(scope=scope), self._host)
            except RefusedError as refused:
                await error_response(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_access(method: str, headers: Headers, served_on: str) -> None:
    """Refuse what a website may have sent.

    Args:
        method: The request's method.
        headers: The request's headers.
        served_on: The host name or address that the sandbox is served on.

    Raises:
        RefusedError: 403 or 415.
    """
    _check_host(headers.getlist("host"), served_on)
    _check_origin(method, headers)
    if method not in ("GET", "HEAD", "OPTIONS"):
        _check_content_type(headers)


def _check_host(hosts: list[str], served_on: str) -> None:
    found = _HOST_HEADER.fullmatch(hosts[0]) if len(hosts) == 1 else None
    name = found[1].removesuffix(".").lower() if found else ""
    if not _is_trusted(name, served_on.lower()):
        message = f"The sandbox is not served under the host name {name or ', '.join(hosts)!r:.100}"
        if is_loopback(served_on):
            hint = "open it as http://127.0.0.1 with its port, or start it with --host."
        else:
            hint = f"use an IP address, or start it with --host {name or 'NAME'}."
        raise RefusedError(403, "Forbidden", f"{message}; {hint}")


def _is_trusted(name: str, served_on: str) -> bool:
    """Whether a website cannot have this host name.

    Where other machines can reach the sandbox, that is any IP address and any name without a dot, such as that of a
    container: a website's own name is neither.
    """
    if is_loopback(served_on):
        return is_loopback(name)
    return name == served_on or re.fullmatch(r"[a-z0-9_-]+", name) is not None or _is_ip_address(name)


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _check_origin(method: str, headers: Headers) -> None:
    own = {f"{scheme}://{headers['host']}".lower() for scheme in ("http", "https")}
    for origin in headers.getlist("origin"):
        if origin.lower() not in own:
            raise RefusedError(403, "Forbidden", f"The sandbox takes no requests from pages of {origin!r:.100}.")
    # A link on another site may open the page, or any other GET, as a document of its own.
    opens_document = (
        method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not opens_document:
        raise RefusedError(403, "Forbidden", "The sandbox takes no requests from pages of other sites.")


def _check_content_type(headers: Headers) -> None:
    """Without a CORS preflight a page of another site can send a body, but not as JSON."""
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    types = [value.partition(";")[0].strip().lower() for value in headers.getlist("content-type")]
    # A form always sends a content type, and a script that leaves it out sends its Origin.
    if has_body and types not in ([], ["application/json"]):
        raise RefusedError(
            415,
            "Unsupported Media Type",
            f"The body's Content-Type is {', '.join(types)[:100]!r}; send Content-Type: application/json.",
        )
