"""Lay out what tests and demo run in: uv, the wheel, and one environment for each engine, all in ``.build``.

``python3 tools/environments.py core airflow-3.3`` makes or brings up to date the environments named, ``--compile``
writes the constraints of all of them anew. It needs nothing but Python 3.11 with pip; where packages come from is
the machine's own business, so no file of the project names a place.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
CONSTRAINTS = ROOT / "tests" / "constraints"
PACKAGE = "activitysmith-integrations"


@dataclass(frozen=True)
class Environment:
    """A set of packages to run in.

    Args:
        name: Names its folder and its file of constraints.
        group: The dependency group of pyproject.toml to install beside the package; none where people's own
            environments are to be like it.
        extras: The package's extras to install.
        pins: Which versions the constraints are to hold, where the newest is not meant.
        like: The environment whose file of constraints it shares, where it has none of its own.
    """

    name: str
    group: str = ""
    extras: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    like: str = ""

    @property
    def folder(self) -> Path:
        """Where it is."""
        return BUILD / f"env-{self.name}"

    @property
    def constraints(self) -> Path:
        """The versions of everything in it."""
        return CONSTRAINTS / f"{self.like or self.name}.txt"

    @property
    def programs(self) -> Path:
        """The folder of the programs installed in it."""
        return self.folder / "bin"

    def program(self, name: str) -> str:
        """The path of a program installed in it."""
        return str(self.programs / name)


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("core", "core"),
        Environment("browser", "browser"),
        Environment("airflow-3.3", "airflow", ("airflow", "sandbox"), ("apache-airflow==3.3.*",)),
        Environment("airflow-3.1", "airflow", ("airflow", "sandbox"), ("apache-airflow==3.1.*",)),
        Environment("airflow-3.3-celery", "celery", ("airflow", "sandbox"), ("apache-airflow==3.3.*",)),
        Environment("prefect-3.8", "prefect", ("prefect", "sandbox"), ("prefect==3.8.*",)),
        Environment("plain", like="core"),
        Environment("plain-sandbox", extras=("sandbox",), like="core"),
        Environment("plain-airflow", extras=("airflow",), like="airflow-3.3"),
        Environment("plain-prefect", extras=("prefect",), like="prefect-3.8"),
        Environment("bench-core", "bench-core"),
        Environment("bench-airflow", "bench-airflow", ("airflow",), ("apache-airflow==3.3.*",)),
        Environment("bench-prefect", "bench-prefect", ("prefect",), ("prefect==3.8.*",)),
    )
}


def prepare(names: Sequence[str]) -> None:
    """Make the environments, or bring them up to date; what is up to date already is left alone."""
    with alone():
        uv = _uv()
        wheel = _wheel(uv)
        for name in names:
            _install(uv, ENVIRONMENTS[name], wheel)


def compile_constraints() -> None:
    """Resolve every environment anew and write its file of constraints."""
    with alone():
        uv = _uv()
        for environment in ENVIRONMENTS.values():
            if environment.like:
                continue
            pins = BUILD / "pins.txt"
            pins.write_text("\n".join(environment.pins))
            command = [uv, "pip", "compile", "--quiet", "--upgrade", "--no-header", "--no-annotate"]
            command += ["--python-version", "3.11"]
            command += ["--constraints", str(pins), "--group", f"pyproject.toml:{environment.group}"]
            command += [f"--extra={extra}" for extra in environment.extras]
            command += ["--output-file", str(environment.constraints), "pyproject.toml"]
            with step(f"resolve {environment.name}"):
                _run(command)
            pins.unlink()


def _uv() -> str:
    uv = BUILD / "uv" / "bin" / "uv"
    if not uv.exists():
        with step("install uv"):
            # --target needs no venv module and leaves the machine's own Python as it is.
            pip = [sys.executable, "-m", "pip", "install", "-qq", "--upgrade"]
            _run([*pip, "--target", str(uv.parent.parent), "uv>=0.9,<1"])
    return str(uv)


def _wheel(uv: str) -> Path:
    dist, stamp = BUILD / "dist", BUILD / "dist" / "stamp"
    sources = _digest(sorted(_sources()))
    if not (stamp.exists() and stamp.read_text() == sources):
        with step("build the wheel"):
            shutil.rmtree(dist, ignore_errors=True)
            # By way of the sdist, so that a file missing from it shows.
            _run([uv, "build", "--quiet", "--python", sys.executable, "--out-dir", str(dist), str(ROOT)])
            stamp.write_text(sources)
    return next(dist.glob("*.whl"))


def _sources() -> Iterator[Path]:
    yield from (ROOT / name for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"))
    yield from (path for path in (ROOT / "activitysmith_integrations").rglob("*") if _is_source(path))


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _install(uv: str, environment: Environment, wheel: Path) -> None:
    folder, stamp = environment.folder, environment.folder / "stamp.json"
    # A virtual environment holds paths: its own and its interpreter's.
    base = _digest([environment.constraints, ROOT / "pyproject.toml"], str(folder), sys.base_prefix, sys.version)
    wanted = {"base": base, "wheel": _digest([wheel])}
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(stamp.read_text())
        if found == wanted:
            return
        if found["base"] != base:
            shutil.rmtree(folder)
    with step(f"install {environment.name}"):
        if not stamp.exists():
            _run([uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(folder)])
        stamp.unlink(missing_ok=True)
        command = [uv, "pip", "install", "--quiet", "--python", environment.program("python")]
        command += ["--constraints", str(environment.constraints), "--reinstall-package", PACKAGE]
        if environment.group:
            # Compiled once here, not by each of the many processes that engines start.
            command += ["--compile-bytecode", "--group", f"pyproject.toml:{environment.group}"]
        _run([*command, f"{PACKAGE}[{','.join(environment.extras)}] @ {wheel.as_uri()}"])
        _run([uv, "pip", "check", "--quiet", "--python", environment.program("python")])
        stamp.write_text(json.dumps(wanted))


def _digest(files: Sequence[Path], *words: str) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for file in files:
        content = file.read_bytes() if file.exists() else b""
        digest.update(f"\0{file.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _run(command: Sequence[str]) -> None:
    # A Python of its own would be a download that this machine may not have; PYTHONPATH would leak into builds.
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=ROOT, env={**environ, "UV_PYTHON_DOWNLOADS": "never"})
    if done.returncode:
        sys.exit(f"failed with exit code {done.returncode}: {' '.join(command)}")


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    print(f"{name} ...", flush=True)
    start = time.monotonic()
    yield
    print(f"{name}: {time.monotonic() - start:.1f} s", flush=True)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One at a time: two makes at once would lay out the same folders."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--compile", action="store_true", help="write all constraints anew")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ENVIRONMENTS):
        parser.error(f"no environment is called {', '.join(sorted(unknown))}")
    if options.compile:
        compile_constraints()
    prepare(options.names)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever has an older one is to be told so
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    main()
