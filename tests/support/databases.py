"""A real PostgreSQL and a real Redis for a while: Debian's packages, without installing them.

What the machine has is taken as it is; what it lacks apt fetches into ``.build``, where no root is needed, no service
starts and no cluster is left behind. Both run in a scratch folder and on a free loopback port.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.processes import Deployment, DeploymentError, eventually, free_port

_FETCHED = Path(__file__).resolve().parents[2] / ".build" / "debian"
_PACKAGES = {"postgres": "postgresql", "redis-server": "redis-server"}
_SYSTEM = "usr/lib/postgresql/*/bin"


class Programs:
    """The programs of databases, of this machine or of packages that are unpacked for a while.

    Args:
        home: A folder to unpack into; everybody on the machine can read it, since PostgreSQL refuses to be root.
        wanted: Of ``postgres`` and ``redis-server``, those that are needed.

    Raises:
        DeploymentError: They are missing, and apt cannot fetch them.
    """

    def __init__(self, home: Path, *wanted: str) -> None:
        self._folders = [*sorted(Path("/").glob(_SYSTEM), reverse=True), *map(Path, os.get_exec_path())]
        self.variables: dict[str, str] = {}
        missing = [_PACKAGES[program] for program in wanted if self._find(program) is None]
        if missing:
            self._unpack(_fetch(missing), home)

    def _unpack(self, packages: Sequence[Path], home: Path) -> None:
        for package in packages:
            _run(["dpkg", "-x", str(package), str(home)])
        self._folders = [*home.glob(_SYSTEM), home / "usr/bin", *self._folders]
        libraries = {str(library.parent) for library in home.glob("**/lib/**/*.so*")}
        self.variables["LD_LIBRARY_PATH"] = os.pathsep.join(sorted(libraries))

    def folder(self, program: str) -> Path:
        """The folder that a program is in."""
        found = self._find(program)
        if found is None:
            raise DeploymentError(f"{program} is not in the package {_PACKAGES[program]}; install it")
        return found

    def _find(self, program: str) -> Path | None:
        return next((folder for folder in self._folders if os.access(folder / program, os.X_OK)), None)


def _fetch(packages: Sequence[str]) -> list[Path]:
    """The packages, and those of their dependencies that the machine lacks."""
    wanted = " ".join(packages)
    fetched = _FETCHED / "-".join(packages)
    archives, stamp = fetched / "archives", fetched / "stamp"
    if not stamp.exists():
        if shutil.which("apt-get") is None:
            raise DeploymentError(f"install {wanted}: this machine has no apt-get to do it with")
        shutil.rmtree(fetched, ignore_errors=True)
        for folder in (archives, fetched / "lists"):
            (folder / "partial").mkdir(parents=True)
        own = {"Dir::Cache": fetched, "Dir::State::lists": fetched / "lists", "Debug::NoLocking": 1}
        # Root's apt would fetch as a user who may not look into this folder.
        own |= {"APT::Sandbox::User": pwd.getpwuid(os.geteuid()).pw_name}
        apt = ["apt-get", "-qq", "-y", *(f"-o{name}={value}" for name, value in own.items())]
        _run([*apt, "update"])
        _run([*apt, "--no-install-recommends", "--download-only", "install", *packages])
        stamp.touch()
    return sorted(archives.glob("*.deb"))


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        advice = f"install {' and '.join(_PACKAGES.values())} yourself"
        raise DeploymentError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}; {advice}")


class PostgreSQL(Deployment):
    """A PostgreSQL of its own, without passwords and without care for what a power cut would do to it.

    Args:
        home: A folder for all that it writes; made here.
        programs: Where its programs are.
    """

    def __init__(self, home: Path, programs: Programs) -> None:
        # It refuses to be root.
        user = "nobody" if os.geteuid() == 0 else None
        super().__init__("PostgreSQL", programs.folder("postgres"), home, programs.variables, user)
        self._port = free_port()
        self._data = home / "data"
        self._data.mkdir(mode=0o700)
        if user is not None:
            for folder in (home, self._data):
                shutil.chown(folder, user)

    def start(self) -> None:
        """Lay out its data, start it, and wait until it answers."""
        options = ("--username=postgres", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync")
        if self.call("initdb", "initdb", "--pgdata", str(self._data), *options):
            raise DeploymentError("PostgreSQL could not lay out its data directory")
        self._serve()

    def restart(self) -> None:
        """End it at once, with everybody's connections, and start it again."""
        process = self._servers.pop("postgres")
        process.send_signal(signal.SIGINT)
        process.wait()
        self._serve()

    def _serve(self) -> None:
        settings: Mapping[str, object] = {
            "fsync": "off",
            "listen_addresses": "127.0.0.1",
            "max_connections": 300,
            "port": self._port,
            "shared_buffers": "256MB",
            "unix_socket_directories": "",
        }
        told = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.serve("postgres", "postgres", "-D", str(self._data), *told)
        eventually(lambda: self._psql("ready", "--command=SELECT 1"), "PostgreSQL", 60)

    def database(self, name: str) -> str:
        """Make a database; its address without the scheme, as a URL has it."""
        if not self._psql("create", f"--command=CREATE DATABASE {name}"):
            raise DeploymentError(f"PostgreSQL could not make the database {name}")
        return f"postgres@127.0.0.1:{self._port}/{name}"

    def copy(self, name: str, copy: str) -> str:
        """Make a database that holds what another one does now; its address.

        Args:
            name: The other one, which may be in use.
            copy: The name of the new one.
        """
        address, file = self.database(copy), self.dump(name)
        if not self._psql("copy", "--quiet", f"--dbname={copy}", f"--file={file}"):
            raise DeploymentError(f"PostgreSQL could not copy the database {name}")
        return address

    def dump(self, name: str, *options: str) -> Path:
        """Write all of a database to a file, as SQL.

        Args:
            name: The database.
            options: Of ``pg_dump``, which leave something out.
        """
        file = self.home / f"{name}.sql"
        self.run_program("dump", "pg_dump", *self._address, f"--file={file}", *options, name)
        return file

    @property
    def _address(self) -> tuple[str, ...]:
        return "--host=127.0.0.1", f"--port={self._port}", "--username=postgres"

    def _psql(self, label: str, *arguments: str) -> bool:
        self.check()
        return self.call(label, "psql", *self._address, "--no-psqlrc", *arguments) == 0


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL for the time of a block, in a folder of its own, which one that is not root can look into."""
    with tempfile.TemporaryDirectory(prefix="activitysmith-postgresql-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        with PostgreSQL(home / "server", Programs(home / "debian", "postgres")) as server:
            yield server


class Redis(Deployment):
    """A Redis of its own that writes nothing down.

    Args:
        home: A folder for its log; made here.
        programs: Where its programs are.
    """

    def __init__(self, home: Path, programs: Programs) -> None:
        super().__init__("Redis", programs.folder("redis-server"), home, programs.variables)
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        keep_nothing = ("--save", "", "--appendonly", "no")
        self.serve("redis", "redis-server", "--bind", "127.0.0.1", "--port", str(self._port), *keep_nothing)
        eventually(self._answers, "Redis", 60)

    def _answers(self) -> bool:
        self.check()
        return self.call("ping", "redis-cli", "-p", str(self._port), "ping") == 0
