"""Sees to it that Postgres does not outlive the process that started it, however that ends."""

import contextlib
import subprocess
from pathlib import Path

# A shell, because it starts at once and has to outlive us: what it reads ends when we do.
_SCRIPT = """
read -r word
[ "$word" = stopped ] && exit
kill -INT "$1"
waited=0
while kill -0 "$1" && [ $waited -lt 100 ]; do sleep 0.1; waited=$((waited + 1)); done
kill -QUIT "$1"
[ -z "$2" ] || rm -rf -- "$2"
"""


class Guard:
    """Stops a Postgres as ``stop`` would have, once this process is gone without having done so.

    Signals that a terminal, ``make`` or a service manager sends to our process group do not reach it.

    Args:
        pid: The postmaster.
        folder: A folder to remove afterwards; None keeps it.
    """

    def __init__(self, pid: int, folder: Path | None) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            ["/bin/sh", "-c", _SCRIPT, "guard", str(pid), "" if folder is None else str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def dismiss(self) -> None:
        """Postgres has been stopped: there is nothing to guard any more."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(b"stopped\n")
                self._process.stdin.close()
        self._process.wait()
