"""Print what the engine or compose refused, with the fix, in one line; nothing if they refused nothing.

Standard input is the output of `docker compose up`. A service that started and is not healthy is not a refusal: its log
shows the reason.
"""

from __future__ import annotations

import re
import sys

# Lines about compose's progress, and the text that compose puts around the engine's sentence.
_PROGRESS = re.compile(
    r"^\s*(?:(?:Container|Network|Volume|Image) .*|\[\+\].*|#\d+ .*|time=\S+ level=(?:warning|info).*|.* Warning .*)$"
)
_WRAPPED = re.compile(r"^.*?Error response from daemon: |^Error:? |^[Ee]rror: ")
_UNHEALTHY = re.compile(
    r"dependency failed to start|unhealthy|not healthy|has no healthcheck|exited \(\d+\)|deadline exceeded"
)
_PORTS = "PORT, HTTP_PORT or HTTPS_PORT"

FIXES = [
    (
        r"address pools have been fully subnetted|non-overlapping IPv[46] address pool",
        "The engine has no addresses left for a network. Remove networks that no container uses: 'docker network "
        "prune'. Or give the engine more addresses: default-address-pools in /etc/docker/daemon.json",
    ),
    (
        r"[Pp]ool overlaps with other one|overlaps with (?:an )?(?:existing|other)|conflicts with network",
        "Another network has these addresses. Choose other ones in your compose file, or remove that network: "
        "'docker network ls'",
    ),
    (
        r"port is already allocated|address already in use|[Pp]orts? (?:are|is) not available|"
        r"failed to bind (?:host )?port",
        f"Stop the program or the container that has the port ('docker ps' and 'ss -ltnp' show it), or choose another "
        f"{_PORTS} in .env",
    ),
    (
        r"cannot assign requested address|can't assign requested address",
        "Write an address of this machine in BIND_ADDR in .env ('ip address' lists the addresses)",
    ),
    (r"cannot expose privileged port|permission denied.*port", f"Choose {_PORTS} of 1024 or higher in .env"),
    (
        r"no space left on device|disk quota exceeded",
        "Make room on the engine's disk: 'docker system df' shows what Docker holds",
    ),
    (
        r"container name \S+ is already in use",
        "A container that is not part of this kit has the name. Remove it with 'docker rm', or rename it with "
        "'docker rename'",
    ),
    (
        r"network (?P<name>\S+) was found but has incorrect label",
        "A network that is not part of this kit has the name. If no container uses the network, remove it: "
        "'docker network rm {name}'",
    ),
    (
        r"network (?P<name>\S+) (?:declared as external, but could not be|not) found",
        "Create the network first: 'docker network create {name}'",
    ),
    (
        r'volume (?P<name>\S+) declared as external|external volume "(?P<other>[^"]+)" not found',
        "Create the volume first with 'docker volume create'",
    ),
    (
        r"toomanyrequests|rate limit",
        "The registry limits anonymous pulls: 'docker login', or try again later",
    ),
    (
        r"pull access denied|manifest unknown|manifest for \S+ not found|unauthorized|not found: manifest|"
        r"[Nn]o such image",
        "Fix EDGE_IMAGE or POSTGRES_IMAGE in .env, or log in to the registry with 'docker login'",
    ),
    (
        r"registry-1\.docker\.io|https://\S+/v2/|failed to do request|TLS handshake timeout|x509:",
        "The engine can't reach the registry. Check the network and the proxy of the engine, or load the image with "
        "'docker load' and name it by its tag in .env: EDGE_IMAGE, POSTGRES_IMAGE",
    ),
    (
        r"iptables|nftables|No chain/target/match by that name",
        "The rules of the host's firewall were replaced while the engine ran. Restart the engine: "
        "'sudo systemctl restart docker'. Users' servers stop, unless the engine has live-restore",
    ),
    (
        r"bind source path does not exist|error while creating mount source path|not a directory|mounts denied|"
        r"is not shared from the host",
        "Fix the setting in .env that names this path: the engine can't mount it. Docker Desktop mounts only shared "
        "folders",
    ),
    (
        r'exec: "',
        "The image does not have this program. 'make build' builds the kit's images again. If a compose file of yours "
        "names the image or the command, fix that file",
    ),
    (
        r"Cannot connect to the Docker daemon|permission denied while trying to connect|is the docker daemon running",
        "'make engine' starts the engine, or shows why it does not start",
    ),
    (
        r"[Rr]ange of CPUs|CPU CFS|NanoCPUs|cgroup",
        "The engine or the kernel can't set a limit that the kit asks for: 'docker info' shows what is missing",
    ),
    (
        r"unknown or invalid runtime|runtime name",
        "Fix default-runtime in /etc/docker/daemon.json, and restart the engine",
    ),
    (
        r"yaml|undefined (?:network|volume|service)|validating|invalid compose",
        "Fix the files that COMPOSE_FILE names in .env",
    ),
]
_UNKNOWN = "'make doctor' checks the machine and the settings; the engine's own log says more"


def sentence(output: str) -> str:
    """Return the last line that is not progress, without what compose puts around the engine's sentence."""
    written = [line.strip() for line in output.splitlines() if line.strip()]
    from_engine = [line for line in written if "Error response from daemon" in line]
    from_compose = [line for line in written if not _PROGRESS.match(line)]
    line = next(iter([*from_engine[-1:], *from_compose[-1:]]), "")
    return _WRAPPED.sub("", line).rstrip(".")


def refusal(output: str) -> str:
    """Return what was refused with its fix; empty if nothing was refused."""
    said = sentence(output)
    if not said or _UNHEALTHY.search(said):
        return ""
    for pattern, fix in FIXES:
        if found := re.search(pattern, said):
            return f"{said}. {fix.format_map(found.groupdict())}"
    return f"{said}. {_UNKNOWN}"


if __name__ == "__main__":
    if text := refusal(sys.stdin.read()):
        print(text)
