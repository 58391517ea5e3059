"""``activitysmith-sandbox``: run the sandbox on this machine, or draw a state."""

import argparse
import contextlib
import errno
import logging
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.hosts import is_loopback
from activitysmith_integrations.sandbox.hosts import reachable_host
from activitysmith_integrations.sandbox.preview import preview


def page_url(host: str, port: int) -> str:
    """The URL of the page that shows the lock screen, as this machine reaches it."""
    host = reachable_host(host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def banner(host: str, port: int) -> str:
    """What the command prints once it serves. The first line has a fixed form, for programs that start the sandbox.

    Args:
        host: The host name or address that it listens on.
        port: The port.
    """
    page = page_url(host, port)
    warning = "" if is_loopback(host) else "\nOther machines can reach it, with any API key.\n"
    settings = _settings(f"{page}api") if is_loopback(reachable_host(host)) else _NO_SETTINGS
    return f"""\
ActivitySmith sandbox: {page}api
{warning}
The lock screen, live: {page}

{settings}
All that it can do is listed at {page}sandbox. Ctrl-C stops it.
"""


_NO_SETTINGS = """\
This package's clients send plain http to loopback addresses only, and this is none. With --host 0.0.0.0 the sandbox
is reached under 127.0.0.1, too; on another machine, let its loopback address lead here (ssh -L).
"""


def _settings(url: str) -> str:
    connection = f'{{"conn_type":"activitysmith","password":"ask_sandbox","host":"{url}"}}'
    return f"""\
For Python and Prefect:
  export ACTIVITYSMITH_BASE_URL={url}
  export ACTIVITYSMITH_API_KEY=ask_sandbox
For Airflow:
  export AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT='{connection}'
"""


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="activitysmith-sandbox",
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
    picture.add_argument(
        "-o",
        "--output",
        type=_svg_file,
        metavar="FILE",
        help="file to write, such as state.svg (default: standard output)",
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number of 1 or more")
    return int(text)


def _svg_file(text: str) -> str:
    suffix = Path(text).suffix
    if suffix.lower() not in ("", ".svg"):
        raise argparse.ArgumentTypeError(
            f"only SVG is written, not {suffix[1:]}; name it {Path(text).with_suffix('.svg')}"
        )
    return text


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
        from activitysmith_integrations.sandbox.app import create_app
        from activitysmith_integrations.sandbox.server import SandboxServer, listen
    except ModuleNotFoundError as error:
        sys.exit(str(error))
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Port {options.port} on {options.host} is in use; choose another with --port (0: a free one)")
        sys.exit(f"Cannot listen on {options.host} port {options.port}: {error.strerror}")
    address, port = listener.getsockname()[:2]
    app = create_app(
        max_concurrent=options.max_concurrent,
        requests_per_minute=options.requests_per_minute,
        host=options.host,
    )

    def on_started() -> None:
        _print(banner(address, port))
        if options.open:
            # In a thread: a browser in the terminal would block the server that it loads the page from.
            threading.Thread(target=webbrowser.open, args=[page_url(address, port)], daemon=True).start()

    server = SandboxServer(app, listener, on_started)
    # Log one line for each request, and nothing else.
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
