"""An SSH server of the tests on this machine, in front of the engine."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.missing import missing
from support.ports import free_port
from support.wait import wait_until

SSHD = "/usr/sbin/sshd"

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/id_ed25519.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
SetEnv PATH={path} DOCKER_HOST=unix://{socket}
"""

CLIENT = """\
IdentityFile {folder}/id_ed25519
UserKnownHostsFile {folder}/known_hosts
"""


@dataclass
class Sshd:
    """`url` is for DOCKER_HOST. `home` contains the keys of clients, and a program `ssh` that uses them."""

    folder: Path
    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def sessions(self) -> list[int]:
        """Return ids of the processes that serve connections."""
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(one) for one in listed.stdout.split()]

    def cut(self) -> None:
        """Close all connections; clients can reconnect."""
        for session in self.sessions():
            os.kill(session, 9)


@contextmanager
def sshd(folder: Path, socket: str) -> Iterator[Sshd]:
    """Run an SSH server with its own configuration, host key and port, for the user who runs the test."""
    if not Path(SSHD).exists() or not shutil.which("docker"):
        missing("no SSH server, or no docker for it: apt-get install openssh-server")
    home = folder / "home"
    keys = home / ".ssh"
    keys.mkdir(parents=True)
    for key in (folder / "host_key", folder / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(folder / "id_ed25519", keys)
    port = free_port()
    known = f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}"
    for place in (folder / "known_hosts", keys / "known_hosts"):
        place.write_text(known)
    (folder / "client").write_text(CLIENT.format(folder=folder))
    # As the program takes its configuration from the account's home, whatever HOME says.
    program = home / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/client "$@"\n')
    program.chmod(0o755)
    config = folder / "server"
    config.write_text(SERVER.format(port=port, folder=folder, path=os.environ["PATH"], socket=socket))
    if os.getuid() == 0:
        # Debian's package leaves it to its service.
        Path("/run/sshd").mkdir(exist_ok=True)
    log = folder / "log"
    process = subprocess.Popen([SSHD, "-D", "-f", str(config), "-E", str(log)])
    try:
        wait_until(lambda: "Server listening" in log.read_text() if log.exists() else False, timeout=10, what="sshd")
        running = Sshd(folder, home, port, process)
        yield running
        running.cut()
    finally:
        process.terminate()
        process.wait(10)
