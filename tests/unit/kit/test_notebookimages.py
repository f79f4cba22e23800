"""Which images doctor tries, and what it learns of one."""

from __future__ import annotations

import asyncio

import pytest

from dockyard.hub.notebookimages import Named, attempt, named
from support.ports import free_port

PROFILES = [
    {"display_name": "Small", "docker_override": {"mem_limit": "1G"}},
    {"display_name": "R", "docker_override": {"image": "r:1", "cmd": "start.sh jupyterhub-singleuser"}},
    {"display_name": "Web", "docker_override": {"image": "web:1", "ready_check": "HTTP", "notebook_dir": "/srv/web"}},
    {
        "display_name": "More",
        "docker_override": {"image": "r:1", "cmd": ["start.sh", "jupyterhub-singleuser"]},
        "profile_options": {
            "image": {
                "choices": {
                    "one": {
                        "docker_override": {
                            "image": "one:1",
                            "volumes": {"{prefix}-home-{username}": "/home/one"},
                            "notebook_dir": "/home/one",
                        }
                    }
                },
                "unlisted_choice": {"enabled": True, "docker_override": {"image": "{value}"}},
            }
        },
    },
]


def test_named_gives_each_way_in_which_an_image_is_started_once() -> None:
    values = {"NOTEBOOK_IMAGE": "lab:1", "ALLOWED_IMAGES": "lab:1, other:1,", "HOME_PATH": "/home/x"}
    start = ("start.sh", "jupyterhub-singleuser")
    assert list(named(values, PROFILES)) == [
        Named("NOTEBOOK_IMAGE", "lab:1", home="/home/x"),
        Named("ALLOWED_IMAGES", "other:1", home="/home/x"),
        Named("PROFILES_FILE", "r:1", home="/home/x", command=start),
        Named("PROFILES_FILE", "web:1", "http", home="/home/x"),
        Named("PROFILES_FILE", "one:1", home="/home/one"),
        Named("PROFILES_FILE", "{value}", home="/home/x"),
    ]


def test_a_line_has_no_empty_field() -> None:
    line = Named("PROFILES_FILE", "r:1", command=("sh", "-c", "a b")).line()
    assert line == "PROFILES_FILE\tr:1\tjupyterhub\t-\tsh\t-c\ta b"


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("403 Forbidden\r\nX-JupyterHub-Version: 6.1.1", "jupyterhub 6.1.1"),
        ("404 Not Found\r\nServer: TornadoServer", "other 404"),
        ("503 Unavailable", "other 503"),
        ("", "nothing"),
    ],
)
async def test_attempt_says_what_answers(monkeypatch: pytest.MonkeyPatch, head: str, found: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode() if head else b"")
        writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        assert await attempt(0.5, free_port(), port) == found
