"""``python -m activitysmith_integrations.sandbox``: run the sandbox on this machine, or draw a state."""

import argparse
import asyncio
import contextlib
import errno
import logging
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence

try:
    import uvicorn
    from starlette.applications import Starlette
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from activitysmith_integrations.core.errors import InvalidRequestError
    from activitysmith_integrations.sandbox.app import create_app
    from activitysmith_integrations.sandbox.connection import CLOSE_CONNECTION
    from activitysmith_integrations.sandbox.page import is_loopback
    from activitysmith_integrations.sandbox.preview import preview
except ModuleNotFoundError as missing:
    sys.exit(
        f"The sandbox needs {str(missing.name).partition('.')[0]}, which is not installed: "
        "pip install 'activitysmith-integrations[sandbox]'"
    )


class SandboxServer(uvicorn.Server):
    """A server on which the sandbox's faults reach the wire.

    Args:
        app: What :func:`~activitysmith_integrations.sandbox.app.create_app` made.
        listener: A socket that listens already.
        on_started: Called once connections are accepted.
    """

    def __init__(self, app: Starlette, listener: socket.socket, on_started: Callable[[], None] = lambda: None) -> None:
        super().__init__(uvicorn.Config(app, http=_ClosableProtocol, ws="none", lifespan="off", log_level="warning"))
        self._listener = listener
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on the listener, then say so."""
        await super().startup([self._listener])
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop at once: a delayed or dripping answer would take as long as it was told to, a viewer for ever."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown([self._listener])


class _ClosableProtocol(H11Protocol):
    """Hands the app a way to close its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, CLOSE_CONNECTION: transport.close}


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: A name or an address of this machine.
        port: A port; 0 takes a free one.

    Raises:
        OSError: It cannot be listened on.
    """
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # asyncio would do so for sockets of its own making; without it an answer waits 40 ms for the client's receipt.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def page_url(host: str, port: int) -> str:
    """Where the lock screen is."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def banner(host: str, port: int) -> str:
    """What the command prints. The first line has a fixed form, for programs that start the sandbox."""
    url = f"{page_url(host, port)}api"
    connection = f'{{"conn_type":"activitysmith","password":"ask_sandbox","host":"{url}"}}'
    warning = "" if is_loopback(host) else "\nOther machines can reach it, and any API key opens it.\n"
    return f"""\
ActivitySmith sandbox: {url}
{warning}
The lock screen, live: {page_url(host, port)}

For Python and Prefect:
  export ACTIVITYSMITH_BASE_URL={url}
  export ACTIVITYSMITH_API_KEY=ask_sandbox
For Airflow:
  export AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT='{connection}'

All that it can do: {page_url(host, port)}sandbox. Ctrl-C stops.
"""


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m activitysmith_integrations.sandbox",
        description="A local ActivitySmith stream API to develop and test against, with a page that shows the lock "
        "screen. It keeps everything in memory.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8765, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--max-concurrent", type=_positive, default=4, metavar="N", help="live activities (default: %(default)s)"
    )
    parser.add_argument(
        "--requests-per-minute", type=_positive, default=60, metavar="N", help="PUT and DELETE (default: %(default)s)"
    )
    parser.add_argument("--open", action="store_true", help="open the lock screen in a browser")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="instead of running it")
    picture = commands.add_parser(
        "preview", help="write the SVG of a state", description="Write the SVG of a state, as the page would show it."
    )
    picture.add_argument("state", nargs="?", help="file with a content state, or a request, as JSON; - or none: stdin")
    picture.add_argument("-o", "--output", metavar="FILE", help="file to write (default: standard output)")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number of 1 or more")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sandbox until Ctrl-C, or draw a state.

    Args:
        arguments: The command line; None takes the process's own.
    """
    options = _arguments(arguments)
    if options.command == "preview":
        _preview(options.state, options.output)
    else:
        _serve(options)


def _preview(source: str | None, target: str | None) -> None:
    try:
        preview(source, target)
    except (InvalidRequestError, OSError) as error:
        sys.stderr.write(f"No picture of {source if source not in (None, '-') else 'standard input'}: {error}\n")
        sys.exit(2)


def _serve(options: argparse.Namespace) -> None:
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {options.port} on {options.host} is in use; choose another with --port (0: a free one)")
        sys.exit(f"Cannot listen on {options.host} port {options.port}: {error.strerror}")
    port = listener.getsockname()[1]
    app = create_app(
        max_concurrent=options.max_concurrent,
        requests_per_minute=options.requests_per_minute,
        any_host=not is_loopback(options.host),
    )

    def on_started() -> None:
        _say(banner(options.host, port))
        if options.open:
            # Not here: a browser in the terminal would hold up the server that it asks.
            threading.Thread(target=webbrowser.open, args=[page_url(options.host, port)], daemon=True).start()

    server = SandboxServer(app, listener, on_started)
    # One line for each request is what a developer wants to see, and nothing else.
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
