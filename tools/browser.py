"""What the tests of the page need beside Python packages: Chromium from Debian, and axe from npm.

Where one cannot be had, this says so and goes on; the tests that need it are skipped then, or fail where CI is set.
"""

import os
import shutil
import subprocess
from pathlib import Path

AXE = "4.14.1"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
HOME = Path(__file__).resolve().parent.parent / ".build" / "npm"
NPM = ("--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


def run(*command: str) -> None:
    """Run a command, which says itself why it fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)


def main() -> None:
    """Install what is missing."""
    if not any(map(shutil.which, CHROMIUM)):
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            print("Chromium is missing, and only root with apt-get can install it here")
        else:
            # The lists may be old or absent; where they cannot be fetched the installation says what is wrong.
            run("apt-get", "update", "-qq")
            run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium")
    package = HOME / "node_modules" / "axe-core" / "package.json"
    if not (package.exists() and f'"version": "{AXE}"' in package.read_text()):
        if shutil.which("npm") is None:
            print("npm is missing, so axe cannot be installed")
        else:
            HOME.mkdir(parents=True, exist_ok=True)
            run("npm", "install", "--prefix", str(HOME), *NPM, f"axe-core@{AXE}")


if __name__ == "__main__":
    main()
