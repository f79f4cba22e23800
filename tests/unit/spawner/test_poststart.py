from __future__ import annotations

from typing import Any

import pytest
import requests

from dockerspawner._start.post_start import needs_shell
from support.fake_engine import FakeClient, fake_engine
from support.spawners import make_spawner


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        ("cd x && y", True),
        ("cd x", True),
        ("a; b", True),
        ("a | b", True),
        ("a > file", True),
        ("echo $HOME", True),
        ("echo ${HOME}", True),
        ("cp *.txt /tmp", True),
        ("touch /tmp/x", False),
        ("cdrecord x", False),
        ("sh -c 'cd x && y'", False),
        ("/bin/bash -lc 'a; b'", False),
        ("sh -c 'oops", False),
        (["sh", "-c", "cd x && y"], False),
        ("", False),
        (False, False),
    ],
)
def test_needs_shell(command: Any, needs: bool) -> None:
    assert needs_shell(command) is needs


async def test_a_command_that_is_silent_for_longer_than_a_call_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    class Client(FakeClient):
        running = 2

        def exec_create(self, key: str, command: Any) -> dict[str, str]:
            return {"Id": "command"}

        def exec_start(self, command: str, demux: bool) -> Any:
            raise requests.ReadTimeout("silent")

        def exec_inspect(self, command: str) -> dict[str, Any]:
            self.running -= 1
            return {"Running": self.running > 0, "ExitCode": 7}

    spawner: Any = make_spawner(engine=fake_engine(Client()), post_start_cmd="anything", object_id="x")
    spawner.log.propagate = True
    await spawner.post_start_exec()
    assert "output of post_start_cmd in jupyter-ann is lost" in caplog.text
    assert "exit code 7" in caplog.text
