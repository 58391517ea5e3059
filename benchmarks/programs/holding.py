"""How long something keeps its process while the service is faulty."""

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any


def measure(works: Mapping[str, Callable[[], Any]], runs: int, cap: float) -> None:
    """Print the seconds of each work's runs, null where one took longer than the cap; then end the process.

    They run all at once, since they only wait.
    """
    logging.disable()
    seconds: dict[str, list[float | None]] = {name: [None] * runs for name in works}

    def run(name: str, number: int) -> None:
        start = time.monotonic()
        with contextlib.suppress(Exception):
            works[name]()
        seconds[name][number] = time.monotonic() - start

    threads = [threading.Thread(target=run, args=(name, number)) for name in works for number in range(runs)]
    deadline = time.monotonic() + cap
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    print(json.dumps(seconds), flush=True)
    os._exit(0)  # past what still waits
