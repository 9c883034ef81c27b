"""What the bench compares with, and its load generator: compiled or installed into a cache folder."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bridge.errors import ConfigError

SOURCES: Final = Path(__file__).parent / "programs"
INSTALL_LIMIT_S: Final = 120


def cache_folder() -> Path:
    """Return where programs are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "supabase-realtime-bridge" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compiled(name: str) -> Path:
    """Return the program made of ``programs/NAME.c``, which is compiled unless it has been before.

    Raises:
        ConfigError: there is no compiler, or it refused.
    """
    source = SOURCES / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = cache_folder() / f"{name}-{digest}"
    if program.exists():
        return program
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise ConfigError("the load generator is written in C and there is no compiler: install gcc or clang")
    unfinished = program.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O2", "-o", str(unfinished), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own source
    if done.returncode:
        first = next(iter(done.stderr.splitlines()), "it did not say why")
        raise ConfigError(
            f"{compiler} cannot compile {source.name} ({first}): install the C library's headers"
        )
    unfinished.replace(program)
    return program


def node_command() -> list[str] | str:
    """Return what starts the server on Node and ``ws``, or why it cannot be had."""
    node = shutil.which("node")
    if node is None:
        return "there is no node on the path"
    folder = _installed("ws")
    return folder if isinstance(folder, str) else [node, str(folder / "node.mjs")]


def bun_command() -> list[str] | str:
    """Return what starts the server on Bun, or why it cannot be had."""
    bun = shutil.which("bun")
    if bun is not None:
        return [bun, str(SOURCES / "bun.mjs")]
    folder = _installed("bun")
    if isinstance(folder, str):
        return folder
    return [str(folder / "node_modules" / ".bin" / "bun"), str(folder / "bun.mjs")]


def _installed(package: str) -> Path | str:
    """Return the folder with the servers and their packages; or why it cannot be had."""
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.*js*")))
    ).hexdigest()
    folder = cache_folder() / f"javascript-{digest[:12]}"
    if not (folder / "node_modules" / package).exists():
        npm = shutil.which("npm")
        if npm is None:
            return f"there is no npm on the path to install {package} with"
        folder.mkdir(exist_ok=True)
        for path in SOURCES.glob("*.*js*"):
            shutil.copy(path, folder)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_LIMIT_S)  # noqa: S603
        except (subprocess.SubprocessError, OSError) as error:
            return f"npm did not install {package} ({type(error).__name__})"
    return folder
