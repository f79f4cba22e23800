"""What the engine refuses is the last line, with its fix; a service that is not healthy is not a refusal."""

from __future__ import annotations

import pytest

from refusals import refusal

# As Docker Engine and compose write them.
SAID = {
    " Network lab_front  Creating\n Network lab_front  Error\nfailed to create network lab_front: Error response from "
    "daemon: all predefined address pools have been fully subnetted\n": (
        "all predefined address pools have been fully subnetted. The engine has no addresses left",
        "docker network prune",
    ),
    "Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the defaults to "
    "assign to the network\n": ("could not find an available", "docker network prune"),
    "Error response from daemon: driver failed programming external connectivity on endpoint lab-proxy-1 (0a1b): Bind "
    "for 127.0.0.1:8000 failed: port is already allocated\n": ("Bind for 127.0.0.1:8000 failed", "another PORT"),
    "Error response from daemon: failed to set up container networking: driver failed programming external "
    "connectivity on endpoint lab-edge-1 (0a): failed to bind host port for 0.0.0.0:80:172.18.0.2:80/tcp: address "
    "already in use\n": ("failed to bind host port", "HTTP_PORT"),
    'Error response from daemon: Conflict. The container name "/lab-hub-1" is already in use by container "0a". You '
    "have to remove (or rename) that container to be able to reuse that name.\n": (
        'The container name "/lab-hub-1" is already in use',
        "docker rename",
    ),
    'network lab_front was found but has incorrect label com.docker.compose.network set to "" (expected: "front")\n': (
        "network lab_front was found",
        "docker network rm lab_front",
    ),
    "network traefik declared as external, but could not be found\n": (
        "network traefik",
        "docker network create traefik",
    ),
    "Error response from daemon: mkdir /var/lib/docker/overlay2/0a: no space left on device\n": (
        "no space left on device",
        "docker system df",
    ),
    "Error response from daemon: network traefik not found\n": (
        "network traefik not found",
        "docker network create traefik",
    ),
    "Error response from daemon: something that no version has said so far\n": ("something that", "make doctor"),
    " Container lab-proxy-1  Error response from daemon: pull access denied for caddy\n": (
        "pull access denied",
        "EDGE_IMAGE",
    ),
    'time="2026-11-30T10:00:00Z" level=warning msg="a warning"\nyaml: line 3: mapping values are not allowed\n': (
        "yaml: line 3",
        "COMPOSE_FILE",
    ),
}


@pytest.mark.parametrize("output", SAID)
def test_refusal_is_the_engines_sentence_with_the_fix(output: str) -> None:
    sentence, fix = SAID[output]
    said = refusal(output)
    assert said.startswith(sentence) or f" {sentence}" in said
    assert fix in said
    assert "Error response from daemon" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "output",
    [
        "",
        " Container lab-hub-1  Started\n",
        "container lab-hub-1 is unhealthy\n",
        "dependency failed to start: container lab-gate-1 exited (1)\n",
    ],
)
def test_unhealthy_service_is_not_a_refusal(output: str) -> None:
    assert refusal(output) == ""
