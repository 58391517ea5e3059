"""Every check, each in an environment of its own below ``.build/env``.

``make NAME`` runs one session, ``make NAME T=PATH`` a part of its tests on the sources as they are now, ``make help``
lists what else there is. A full run tests the built wheel.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
BUILD = ROOT / ".build"
DIST, ENVIRONMENTS, REPORTS, COVERAGE = (BUILD / name for name in ("dist", "env", "reports", "coverage"))
CONSTRAINTS = ROOT / "tests" / "constraints"
PACKAGE = "activitysmith-integrations"
SOURCES = "activitysmith_integrations"

# Newest first: the first of each is what `make test` runs.
AIRFLOW, PREFECT = ("3.3", "3.2", "3.1"), ("3.9", "3.8", "3.6")
NEWEST_AIRFLOW, NEWEST_PREFECT = f"airflow-{AIRFLOW[0]}", f"prefect-{PREFECT[0]}"
# Coverage makes tests half as slow again; what other versions would add to the figure is a line or two.
FOLLOWED = f"{NEWEST_PREFECT}-followed"
MEASURED = ("core", "sandbox", NEWEST_AIRFLOW, NEWEST_PREFECT, FOLLOWED)
# Beside the Python that runs nox. A session is skipped, and says so, where its Python is not installed.
OTHER_PYTHONS = tuple(version for version in ("3.11", "3.12", "3.13") if not sys.version.startswith(version))

# What each file of constraints is resolved from: dependency group, extras, versions that are not the newest, options.
LOWEST = ("--resolution", "lowest-direct")
RESOLVED: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "nox": ("nox", (), (), ()),
    "lint": ("lint", (), (), ()),
    "types": ("types", (), (), ()),
    "core": ("core", ("sandbox",), (), ()),
    "page": ("page", ("sandbox",), (), ()),
    "docs": ("docs", ("sandbox",), (), ()),
    # Airflow 3.2's API server and DAG processor cannot start on newer FastAPI; 3.1 and 3.3 have such a cap themselves.
    # Newer svcs detaches its registry from the API inside `dags test` once 3.2 drops the object that started that API,
    # and then no task can start; 3.3 keeps the object, and 3.1's tasks need no registry.
    "airflow-3.3": ("airflow", ("airflow", "sandbox"), ("apache-airflow==3.3.*", "fastapi<0.137"), ()),
    "airflow-3.2": ("airflow", ("airflow", "sandbox"), ("apache-airflow==3.2.*", "fastapi<0.137", "svcs<26.2"), ()),
    "airflow-3.1": ("airflow", ("airflow", "sandbox"), ("apache-airflow==3.1.*", "fastapi<0.137"), ()),
    # Prefect before 3.9 cannot start its server on newer FastAPI, and 3.6's answers with errors on one before that. Its
    # workers import importlib_metadata, which newer OpenTelemetry no longer brings along.
    "prefect-3.9": ("test", ("prefect", "sandbox"), ("prefect==3.9.*",), ()),
    "prefect-3.8": ("test", ("prefect", "sandbox"), ("prefect==3.8.*", "fastapi<0.151"), ()),
    "prefect-3.6": ("test", ("prefect", "sandbox"), ("prefect==3.6.*", "fastapi<0.130", "opentelemetry-api<1.42"), ()),
    "lowest-core": ("core", ("sandbox",), (), LOWEST),
    # Airflow 3.1.1 cannot be imported with structlog 25.5; its own constraints have an older one.
    "lowest-airflow": ("test", ("airflow", "sandbox"), ("structlog<25.5",), LOWEST),
    "lowest-prefect": ("test", ("prefect", "sandbox"), ("fastapi<0.130", "opentelemetry-api<1.42"), LOWEST),
    "celery": ("celery", ("airflow",), (f"apache-airflow=={AIRFLOW[0]}.*",), ()),
    "bench": ("bench", (), (), ()),
    "bench-airflow": ("bench-airflow", ("airflow",), (f"apache-airflow=={AIRFLOW[0]}.*",), ()),
    "bench-prefect": ("bench-prefect", ("prefect",), (f"prefect=={PREFECT[0]}.*",), ()),
}

# What needs no engine.
CORE = ("tests/core", "tests/airflow_rules", *sorted(map(str, Path("tests").glob("test_*.py"))))
FOLLOWED_FILES = ("follower", "live", "streams_of_runs", "unseen_failures")
RUNS_FOLLOWED = [f"tests/with_prefect/test_{name}.py" for name in FOLLOWED_FILES]

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.envdir = str(ENVIRONMENTS.relative_to(ROOT))
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "core"]

# What would lead programs out of their environment, or to somebody's account.
for name in [*os.environ]:
    if name.startswith(("AIRFLOW_", "PREFECT_", "PYTHONPATH", "VIRTUAL_ENV")):
        del os.environ[name]
if "demo" not in sys.argv or "--no-install" in sys.argv:  # `make demo` with a key shows its runs on a phone
    for name in ("ACTIVITYSMITH_API_KEY", "ACTIVITYSMITH_BASE_URL"):
        os.environ.pop(name, None)
if pyenv := shutil.which("pyenv"):
    # It has every Python on the path, but lets only the chosen ones start.
    versions = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False).stdout.split()
    os.environ["PYENV_VERSION"] = ":".join(version for version in versions if version.startswith("3.1"))


@functools.cache
def wheel(session: nox.Session) -> Path:
    """The wheel, built from the sdist, so that a file missing there shows; built before where nothing is installed."""
    if "--no-install" in sys.argv:
        return next(DIST.glob("*.whl"))
    shutil.rmtree(DIST, ignore_errors=True)
    session.run_install("uv", "build", "--quiet", "--out-dir", str(DIST), external=True)
    return next(DIST.glob("*.whl"))


def install(session: nox.Session, resolved: str, *, extras: tuple[str, ...] | None = None) -> None:
    """Install the package's wheel with what the constraints were resolved from.

    Args:
        session: Where to.
        resolved: The file of constraints.
        extras: The extras that a user would install; then without our own tools.
    """
    group, all_extras, *_ = RESOLVED[resolved]
    tools = ["--compile-bytecode", "--group", f"pyproject.toml:{group}"] if extras is None else []
    chosen = ",".join(all_extras if extras is None else extras)
    package = ["--reinstall-package", PACKAGE, f"{PACKAGE}[{chosen}] @ {wheel(session).as_uri()}"]
    session.install("--constraints", constraints(resolved), *tools, *package)


def install_tools(session: nox.Session, resolved: str) -> None:
    """Install tools that need no package of ours."""
    session.install("--constraints", constraints(resolved), "--group", f"pyproject.toml:{RESOLVED[resolved][0]}")


def constraints(resolved: str) -> str:
    """The path of a file of constraints."""
    return str(CONSTRAINTS / f"{resolved}.txt")


def borrow(session: nox.Session, name: str) -> Path:
    """The programs of another session's environment, which is made if this is not part of a run that made all."""
    if "--no-install" not in sys.argv:
        session.log(f"the environment of {name} ... (the first time this takes a minute)")
        command = (sys.executable, "-m", "nox", "--session", name, "--install-only")
        session.run_install(*command, external=True, silent=True, log=False)
    return ENVIRONMENTS / name.replace(".", "-") / "bin"


def pytest(session: nox.Session, *paths: str, programs: Path | None = None) -> None:
    """Run tests: those of the wheel, or those on the command line, of the sources as they are."""
    programs = programs or Path(session.bin)
    # As a program: `-m pytest` would import the package from here, not the one that is installed.
    pytest = str(programs / "pytest")
    if session.posargs:
        session.run(pytest, *session.posargs, env={**scratch(session), "PYTHONPATH": str(ROOT)}, external=True)
        return
    command = [pytest, f"--junitxml={REPORTS / session.name}.xml", *paths]
    if session.name in MEASURED:
        command = [str(programs / "coverage"), "run", f"--data-file={COVERAGE / session.name}", *command]
    session.run(*command, env=scratch(session), external=True)


def scratch(session: nox.Session) -> dict[str, str | None]:
    """Homes for the engines, so that they write nothing to the user's."""
    home = Path(session.create_tmp()).resolve()
    return {"AIRFLOW_HOME": f"{home}/airflow", "PREFECT_HOME": f"{home}/prefect", "PYTHONPATH": None}


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, spelling, and the schemas of GitHub's files."""
    install_tools(session, "lint")
    session.run("ruff", "check", "--quiet")
    session.run("ruff", "format", "--check", "--quiet")
    session.run("codespell")
    workflows = map(str, Path(".github/workflows").glob("*"))
    session.run("check-jsonschema", "--builtin-schema=vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema=vendor.dependabot", ".github/dependabot.yml")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy on the sources, each package with its engine, and on programs as users write them."""
    install_tools(session, "types")
    names = ("core", "docs", NEWEST_AIRFLOW, NEWEST_PREFECT)
    core, docs, airflow, prefect = (borrow(session, name) for name in names)
    # Those of the sandbox open its page.
    in_browser = {str(path) for path in Path("benchmarks").glob("sandbox_*.py")}
    benchmarks = {str(path) for path in Path("benchmarks").glob("*.py")} - in_browser
    alone = ("tests/core", "tests/sandbox", *CORE[1:], "tools", *sorted(benchmarks))
    # Programs as users write them are checked from their own folder, where mypy finds the package that is installed.
    users = ROOT / "tests/for_users"
    checked: list[tuple[Path, Path, Sequence[str]]] = [
        (ROOT, Path(session.bin), ["noxfile.py"]),
        (ROOT, core, [f"{SOURCES}/core", f"{SOURCES}/sandbox", *alone]),
        (
            ROOT,
            docs,
            ["docs/hooks.py", "docs/site_builder", "tests/browser", "tests/docs", "tests/support", *sorted(in_browser)],
        ),
        (ROOT, airflow, [f"{SOURCES}/airflow"]),
        (ROOT, prefect, [f"{SOURCES}/prefect"]),
        (users, core, ["core_client.py"]),
        (users, airflow, ["airflow_dag.py"]),
        (users, prefect, ["prefect_flow.py"]),
    ]
    failed = False
    for folder, programs, paths in checked:
        options = [f"--config-file={ROOT / 'pyproject.toml'}", f"--python-executable={programs / 'python'}"]
        options.append(f"--cache-dir={BUILD / 'mypy' / programs.parent.name}")
        with session.chdir(folder):
            try:
                session.run("mypy", *options, *paths)
            except nox.command.CommandFailed:  # the rest is checked all the same
                failed = True
    if failed:
        session.error("mypy has found something")


def checks(name: str, resolved: str, *paths: str, python: str | None = None) -> None:
    """Make a session that runs tests in an environment of its own."""

    @nox.session(name=name, python=python)
    def session(session: nox.Session) -> None:
        install(session, resolved)
        # The programs that tests start import what is installed as well, not what is in the folder they start in.
        session.env["PYTHONSAFEPATH"] = "1"
        pytest(session, *paths)

    session.__doc__ = f"{' '.join(paths)} with {resolved}"


def live(engine: str) -> None:
    """Make a session that runs real deployments of an engine, in the environment of its tests."""
    kind = engine.partition("-")[0]

    @nox.session(name=f"live-{engine}", venv_backend="none")
    def session(session: nox.Session) -> None:
        pytest(session, *map(str, Path("tests/live").glob(f"test_{kind}*")), programs=borrow(session, engine))

    session.__doc__ = f"real deployments of {engine}"


def plain(name: str, resolved: str, *extras: str) -> None:
    """Make a session that looks at the package as its users have it: without our tools."""

    @nox.session(name=name)
    def session(session: nox.Session) -> None:
        install(session, resolved, extras=extras)
        # Isolated, so that the package is the one installed.
        program = "tests/for_users/plain_environment.py"
        session.run("python", "-I", program, *extras, env=scratch(session))

    session.__doc__ = f"the package as a user installs it, with {', '.join(extras) or 'no extra'}"


@nox.session(name=FOLLOWED, venv_backend="none")
def followed(session: nox.Session) -> None:
    """Prefect's runs from start to end, which wait more than they work, beside the other tests of Prefect."""
    session.env["PYTHONSAFEPATH"] = "1"
    pytest(session, *RUNS_FOLLOWED, programs=borrow(session, NEWEST_PREFECT))


checks("core", "core", *CORE)
checks("sandbox", "core", "tests/sandbox")
for version in AIRFLOW:
    checks(f"airflow-{version}", f"airflow-{version}", "tests/with_airflow")
    live(f"airflow-{version}")
checks(NEWEST_PREFECT, NEWEST_PREFECT, "tests/with_prefect", *(f"--ignore={path}" for path in RUNS_FOLLOWED))
for version in PREFECT:
    live(f"prefect-{version}")
for version in PREFECT[1:]:
    checks(f"prefect-{version}", f"prefect-{version}", "tests/with_prefect")
for other in OTHER_PYTHONS:
    checks(f"core-python{other}", "core", *CORE, "tests/sandbox", python=other)
    checks(f"airflow-python{other}", NEWEST_AIRFLOW, "tests/with_airflow", python=other)
    checks(f"prefect-python{other}", NEWEST_PREFECT, "tests/with_prefect", python=other)
checks("lowest-core", "lowest-core", *CORE, "tests/sandbox")
checks("lowest-airflow", "lowest-airflow", "tests/with_airflow")
checks("lowest-prefect", "lowest-prefect", "tests/with_prefect")
plain("plain", "core")
plain("plain-sandbox", "core", "sandbox")
plain("plain-airflow", NEWEST_AIRFLOW, "airflow")
plain("plain-prefect", NEWEST_PREFECT, "prefect")


@nox.session
def page(session: nox.Session) -> None:
    """The sandbox's page in Chromium."""
    install(session, "page")
    session.run_install("python", "tools/browser.py")
    pytest(session, "tests/browser")


@nox.session
def docs(session: nox.Session) -> None:
    """The site: built, its links followed, and looked at in Chromium; `make docs T=serve` shows it."""
    session.env["NO_MKDOCS_2_WARNING"] = "1"
    install(session, "docs")
    session.run_install("python", "tools/browser.py")
    if session.posargs == ["serve"]:
        session.run("python", "-m", "mkdocs", "serve")
        return
    if not session.posargs:
        session.run("python", "-m", "mkdocs", "build")
    pytest(session, "tests/docs")


def upcoming(dependency: str) -> None:
    """Make a session that runs the core's tests with what comes next of a dependency; it may fail."""

    @nox.session(name=f"next-{dependency}")
    def session(session: nox.Session) -> None:
        install(session, "core")
        session.install("--prerelease=allow", "--upgrade", dependency)
        version = f"import importlib.metadata as metadata; print(metadata.version('{dependency}'))"
        version = str(session.run("python", "-c", version, silent=True) or "").strip()
        try:
            pytest(session, *CORE)
        except nox.command.CommandFailed:
            session.skip(f"may fail, and does with {dependency} {version}")

    session.__doc__ = f"the core with the next pre-release of {dependency}; may fail"


upcoming("httpx")
upcoming("pydantic")


@nox.session(venv_backend="none")
def coverage(session: nox.Session) -> None:
    """The branches that the tests of all packages together have taken, with a floor."""
    program, data = str(borrow(session, "core") / "coverage"), f"--data-file={BUILD / 'coverage.all'}"
    session.run(program, "combine", "--quiet", "--keep", data, *map(str, COVERAGE.iterdir()), external=True)
    session.run(program, "report", data, external=True)


@nox.session
def release(session: nox.Session) -> None:
    """What a release has to have: version, changelog, wheel and sdist."""
    install_tools(session, "lint")
    file = wheel(session)
    session.run("twine", "check", "--strict", *map(str, DIST.glob("activity*")))
    session.run("python", "tools/release.py", str(file), *session.posargs)


def program(session: nox.Session, name: str, *options: str, programs: Path) -> None:
    """Run a program of ours that starts others."""
    env = {**scratch(session), "PYTHONPATH": str(ROOT / "tests")}
    session.run(str(programs / "python"), name, *options, *session.posargs, env=env, external=True)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Real runs in both engines, and what the lock screen shows after them."""
    airflow, prefect = borrow(session, NEWEST_AIRFLOW), borrow(session, NEWEST_PREFECT)
    program(session, "tools/demo.py", f"--airflow={airflow}", f"--prefect={prefect}", programs=airflow)


def environment(name: str) -> None:
    """Make a session that makes an environment for others."""

    @nox.session(name=name)
    def session(session: nox.Session) -> None:
        install(session, name)

    session.__doc__ = "an environment for benchmarks"


for name in ("celery", "bench-airflow", "bench-prefect"):
    environment(name)


@nox.session
def bench(session: nox.Session) -> None:
    """What the package costs, beside what people would use otherwise."""
    install(session, "bench")
    borrow(session, "bench-airflow")
    borrow(session, "bench-prefect")
    program(session, "benchmarks/costs.py", f"--environments={ENVIRONMENTS}", programs=Path(session.bin))


@nox.session(name="bench-live", venv_backend="none")
def bench_live(session: nox.Session) -> None:
    """What showing a run from start to end costs the engines."""
    celery, prefect = borrow(session, "celery"), borrow(session, NEWEST_PREFECT)
    program(session, "benchmarks/live_cost.py", f"--airflow={celery}", f"--prefect={prefect}", programs=prefect)


@nox.session(name="bench-prefect-follow", venv_backend="none")
def bench_prefect_follow(session: nox.Session) -> None:
    """What following a run costs Prefect: time, requests to its API and memory."""
    prefect = borrow(session, NEWEST_PREFECT)
    program(session, "benchmarks/prefect_follow.py", f"--prefect={prefect}", programs=prefect)


@nox.session(name="bench-sandbox", venv_backend="none")
def bench_sandbox(session: nox.Session) -> None:
    """The sandbox under load, and its page with 1,000 streams in Chromium: time and memory, as a table."""
    program(session, "benchmarks/sandbox_load.py", programs=borrow(session, "page"))


@nox.session(name="follow-run", venv_backend="none")
def follow_run(session: nox.Session) -> None:
    """The operator that follows a run, through bad minutes: what the service received, as a table."""
    airflow = borrow(session, NEWEST_AIRFLOW)
    program(session, "benchmarks/follow_run.py", f"--airflow={airflow}", programs=airflow)


@nox.session(name="test-airflow-examples", venv_backend="none")
def airflow_examples(session: nox.Session) -> None:
    """Airflow's own example DAGs, tagged and run: what was shown of each, as a table."""
    program(session, "tools/airflow_examples.py", programs=borrow(session, NEWEST_AIRFLOW))


@nox.session(venv_backend="none")
def scale(session: nox.Session) -> None:
    """Hundreds of runs on Celery and Prefect workers under the service's limit."""
    celery, prefect = borrow(session, "celery"), borrow(session, NEWEST_PREFECT)
    program(session, "benchmarks/scale.py", f"--airflow={celery}", f"--prefect={prefect}", programs=prefect)


@nox.session(name="test-chaos", venv_backend="none")
def chaos(session: nox.Session) -> None:
    """What is shown of runs while something breaks: processes killed, the database restarted, the service down."""
    celery, prefect = borrow(session, "celery"), borrow(session, NEWEST_PREFECT)
    program(session, "benchmarks/chaos.py", f"--airflow={celery}", f"--prefect={prefect}", programs=prefect)


@nox.session(venv_backend="none")
def soak(session: nox.Session) -> None:
    """An hour of runs at the service's limit, through both engines: memory, threads and sockets."""
    celery, prefect = borrow(session, "celery"), borrow(session, NEWEST_PREFECT)
    program(session, "benchmarks/soak.py", f"--airflow={celery}", f"--prefect={prefect}", programs=prefect)


@nox.session(name="constraints", venv_backend="none")
def compile_constraints(session: nox.Session) -> None:
    """Resolve the newest versions that each environment may have, for all Pythons; or those that `T=` names."""
    pins = Path(session.create_tmp()) / "pins.txt"
    for name in session.posargs or RESOLVED:
        group, extras, versions, options = RESOLVED[name]
        pins.write_text("\n".join(versions))
        command = ["uv", "pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version=3.11", *options]
        command += ["--no-header", "--no-annotate", "--constraints", str(pins), "--output-file", constraints(name)]
        command += ["--group", f"pyproject.toml:{group}", *(f"--extra={extra}" for extra in extras), "pyproject.toml"]
        session.run(*command, external=True)
