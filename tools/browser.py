"""What the browser's tests need beside Python packages: Chromium from Debian, and axe from npm.

Where one cannot be had, this says so and goes on; the tests that need it are skipped then.
"""

import os
import shutil
import subprocess

from environments import BUILD, alone, step

AXE = "axe-core@4.14.1"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def prepare() -> None:
    """Install what is missing."""
    with alone():
        if not any(map(shutil.which, CHROMIUM)):
            _install_chromium()
        _install_axe()


def _install_chromium() -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print("Chromium is missing, and only root with apt-get can install it here", flush=True)
        return
    with step("install Chromium"):
        # The lists may be old or absent; where they cannot be fetched the installation says what is wrong.
        _tried("apt-get", "update", "-qq")
        _tried("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium")


def _install_axe() -> None:
    home = BUILD / "npm"
    stamp = home / "stamp"
    if stamp.exists() and stamp.read_text() == AXE:
        return
    if shutil.which("npm") is None:
        print("npm is missing, so axe cannot be installed", flush=True)
        return
    with step("install axe"):
        home.mkdir(exist_ok=True)
        options = ("--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
        if _tried("npm", "install", "--prefix", str(home), *options, AXE):
            stamp.write_text(AXE)


def _tried(*command: str) -> bool:
    """Whether a command succeeded; it says itself why not."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return done.returncode == 0
