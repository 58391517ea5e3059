"""What proofs on real engines share: a scratch folder whose logs are kept, lines with the time, a table."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_START = time.monotonic()


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - _START:6.1f} s  {text}", flush=True)


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as a table; each names its columns."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    width = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads}
    lines = [{head: head for head in heads}, *rows]
    return "\n".join("  ".join(f"{line[head]:>{width[head]}}" for head in heads) for line in lines)


def logs(name: str) -> Path:
    """Where the logs of a proof are kept."""
    return ROOT / ".build" / f"{name}-logs"


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder for the time of a proof; the logs in it are kept."""
    shutil.rmtree(logs(name), ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"activitysmith-{name}-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        # PostgreSQL, which is not root, has its own folder in it.
        home.chmod(0o711)
        try:
            yield home
        finally:
            for log in home.rglob("*.log"):
                kept = logs(name) / log.relative_to(home)
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, kept)
