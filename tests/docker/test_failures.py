"""A start that fails says why in one sentence, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from dockerspawner._start import readiness
from support.notebook import notebook_image
from support.wait import until

pytestmark = pytest.mark.needs("engine")

HTTPD = "httpd -f -p 8888 -h /www"


async def failure_of(spawner: Any) -> Any:
    with pytest.raises(Exception) as failed:  # noqa: PT011  # HTTPError in JupyterHub 5, SpawnException in 6
        await spawner.start()
    assert await spawner.poll() == 0
    return failed.value


async def until_gone(containers: Any) -> None:
    """After start_timeout, a start does not wait for the removal of its container."""

    async def gone() -> bool:
        return containers() == []

    await until(gone, timeout=20)


async def test_a_server_that_ends_at_once_shows_code_and_log_without_secrets(make: Any, containers: Any) -> None:
    spawner = make(
        remove=True,
        environment={"DB_PASSWORD": "hunter22", "COLOUR": "green"},
        cmd=["sh", "-c", 'env | grep -E "PASSW|TOKEN|COLOUR"; echo no such module; exit 3'],
    )
    error = await failure_of(spawner)
    assert error.reason == "exited"
    message = error.jupyterhub_message
    assert message.startswith("The server ended with exit code 3.\n")
    assert "no such module" in message
    assert "COLOUR=green" in message
    assert "hunter22" not in message
    assert spawner.api_token not in message
    assert "<pre>" in error.message_html
    assert containers() == []


async def test_start_an_environment_of_other_values_than_texts_keeps_the_reason(
    make: Any, containers: Any, client: Any, instance: str
) -> None:
    values: dict[str, Any] = {
        "AWS_SECRET_ACCESS_KEY": None,
        "TOKEN_TTL": 3600,
        "DB_PASSWORD": b"hunter22",
        "FLAG": True,
    }
    home = {f"{instance}-home-{{username}}": "/home/jovyan"}
    spawner = make(remove=True, environment=values, volumes=home, cmd=["sh", "-c", "env; exit 3"])
    message = (await failure_of(spawner)).jupyterhub_message
    assert message.startswith("The server ended with exit code 3.\n")
    # None unsets a variable of the container.
    assert "AWS_SECRET_ACCESS_KEY" not in message
    assert "FLAG=True" in message
    assert "hunter22" not in message
    assert containers() == []

    # A failed create also leaves no new volume.
    refused = make("bob", remove=True, environment=values, volumes=home, extra_host_config={"cpuset_cpus": "x"})
    assert "cpuset" in (await failure_of(refused)).jupyterhub_message
    assert not client.volumes.list(filters={"name": f"{instance}-home-bob"})


@pytest.mark.parametrize("printing", ["od -An -v -tx1 | tr -d ' \\n'", "tr '\\0' x | sed s/x/token/g", "cat"])
async def test_a_log_of_one_endless_line_does_not_hold_up_the_hub(make: Any, printing: str) -> None:
    spawner = make(remove=True, cmd=["sh", "-c", f"head -c 163840 /dev/zero | {printing}; exit 3"])
    before = time.thread_time()
    error = await failure_of(spawner)
    assert time.thread_time() - before < 1
    sentence, _, log = error.jupyterhub_message.partition("\n")
    assert sentence == "The server ended with exit code 3."
    assert 1 <= len(log) <= 500


async def test_a_secret_that_the_engine_has_cut_in_half_is_not_shown(make: Any) -> None:
    """The engine returns the end of a log in entries of 16 KiB; the first entry begins with half of a token."""
    half = 'printf %s "${JUPYTERHUB_API_TOKEN:0:16}"; printf %s "${JUPYTERHUB_API_TOKEN:16}"'
    filled = f"head -c 16368 /dev/zero | tr '\\0' -; {half}; echo; for i in $(seq 20); do echo $i; done; exit 3"
    spawner = make(remove=True, cmd=["sh", "-c", filled])
    log = (await failure_of(spawner)).jupyterhub_message.splitlines()[1:]
    assert log == [str(number) for number in range(1, 21)]


async def test_a_server_that_ends_while_it_is_waited_for(make: Any, containers: Any) -> None:
    error = await failure_of(make(remove=True, cmd=["sh", "-c", "sleep 1; echo gave up; exit 4"]))
    assert "exit code 4.\ngave up" in error.jupyterhub_message
    assert containers() == []


async def test_out_of_memory_is_called_that(make: Any) -> None:
    hog = "x=0123456789abcdef; while :; do x=$x$x; done"
    error = await failure_of(make(remove=True, mem_limit="16M", swap=False, cmd=["sh", "-c", hog]))
    assert "The server ran out of memory (16 MiB, " in error.jupyterhub_message
    assert error.reason == "oom"


async def test_a_silent_server_is_described(make: Any, containers: Any) -> None:
    error = await failure_of(make(remove=True, start_timeout=2, cmd=["sh", "-c", "echo dozing; sleep 60"]))
    assert "The server is running, but nothing answers at http://" in error.jupyterhub_message
    assert "/user/ann/api" in error.jupyterhub_message
    assert error.jupyterhub_message.endswith("dozing")
    assert error.reason == "timeout"
    await until_gone(containers)


async def test_start_an_image_of_another_server_fails(
    make: Any, containers: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(readiness, "WRONG_FOR", 1)
    spawner = make(remove=True, ready_check="jupyterhub", hub_connect_url="http://hub:8081")
    spawner.log.propagate = True
    error = await failure_of(spawner)
    assert "the image's command is not jupyterhub-singleuser. Ask an administrator" in error.jupyterhub_message
    assert error.reason == "wrong-server"
    assert "ready_check" not in error.jupyterhub_message
    assert "ready_check to http" in caplog.text
    assert containers() == []


@pytest.mark.parametrize("command", ["sleep 60", ["sh", "-c", "echo busy; sleep 60"]])
async def test_start_a_post_start_cmd_that_outlasts_it_is_named(make: Any, containers: Any, command: Any) -> None:
    error = await failure_of(make(remove=True, start_timeout=3, post_start_cmd=command))
    assert error.jupyterhub_message.startswith(
        "The command that prepares the server (post_start_cmd) was still running"
    )
    assert error.reason == "timeout"
    await until_gone(containers)


async def test_start_a_server_that_ends_under_post_start_cmd_shows_its_exit_code(make: Any, containers: Any) -> None:
    ends = ["sh", "-c", "echo gave up; until [ -e /tmp/x ]; do sleep 0.1; done; exit 4"]
    error = await failure_of(make(remove=True, cmd=ends, post_start_cmd="sh -c 'touch /tmp/x; sleep 60'"))
    assert error.jupyterhub_message == "The server ended with exit code 4.\ngave up"
    error = await failure_of(make(remove=True, cmd=["sh", "-c", "exit 4"], post_start_cmd="sleep 60"))
    assert error.jupyterhub_message == "The server ended with exit code 4."
    assert containers() == []


@pytest.mark.parametrize("policy", ["never", "skip", "ifnotpresent"])
async def test_a_missing_image_is_named(make: Any, containers: Any, policy: str) -> None:
    error = await failure_of(make(remove=True, pull_policy=policy, image="localhost:1/no/such:image"))
    assert "localhost:1/no/such:image" in error.jupyterhub_message
    assert "\n" not in error.jupyterhub_message
    assert error.reason == "image"
    assert containers() == []


async def test_a_missing_network_is_named(make: Any, containers: Any, instance: str) -> None:
    error = await failure_of(make(remove=True, network_name=f"{instance}-nowhere"))
    assert error.jupyterhub_message == f"The Docker network {instance}-nowhere does not exist."
    assert error.reason == "network"
    assert containers() == []


async def test_a_missing_command_is_named(make: Any, containers: Any) -> None:
    error = await failure_of(make(remove=True, cmd=["no-such-command"]))
    assert "no-such-command" in error.jupyterhub_message
    assert containers() == []


async def test_the_last_event_of_progress_is_the_reason(make: Any) -> None:
    spawner = make(remove=True, cmd=["false"])

    async def collect() -> list[Any]:
        return [event async for event in spawner.progress()]

    _, events = await asyncio.gather(failure_of(spawner), collect())
    assert events[-1]["message"] == "The server ended with exit code 1."


@pytest.mark.parametrize("when", ["Looking for", "Creating", "Starting", "Waiting"])
async def test_a_cancelled_start_leaves_nothing(make: Any, containers: Any, when: str) -> None:
    spawner = make(remove=False, cmd=["sleep", "60"])
    starting = asyncio.create_task(spawner.start())
    async for event in spawner.progress():
        if event["message"].startswith(when):
            starting.cancel()
            break
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert containers() == []
    assert await spawner.poll() == 0


async def test_a_hub_that_gives_up_twice_leaves_nothing(make: Any, containers: Any) -> None:
    spawner = make(remove=True, cmd=["sleep", "60"])
    starting = asyncio.create_task(spawner.start())

    async def running() -> bool:
        return bool(containers())

    await until(running, timeout=20)
    starting.cancel()
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    async def nothing() -> bool:
        return not containers()

    await until(nothing, timeout=20)


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ({"cpus": 2}, 'Unknown key "cpus" in the setting extra_host_config: use the setting cpu_limit or "nano_cpus".'),
        ({"dns": "10.0.0.1"}, 'Wrong value for "dns" in the setting extra_host_config: it takes a list.'),
    ],
)
async def test_start_with_a_mistake_in_host_settings_names_setting_and_key(
    make: Any, containers: Any, host: Any, sentence: str
) -> None:
    error = await failure_of(make(remove=True, extra_host_config=host))
    assert error.jupyterhub_message == f"{sentence} Please contact an administrator."
    assert error.reason == "settings"
    assert containers() == []


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
async def test_start_with_a_restart_policy_and_a_crash_shows_exit_code_and_log(
    make: Any, containers: Any, policy: str
) -> None:
    host = {"restart_policy": {"Name": policy}}
    error = await failure_of(make(remove=True, extra_host_config=host, cmd=["sh", "-c", "echo no module; exit 3"]))
    assert error.jupyterhub_message == "The server ended with exit code 3.\nno module"
    assert containers() == []


async def test_start_of_a_kept_container_with_a_restart_policy_and_a_crash_fails_and_keeps_the_policy(
    make: Any, client: Any, tmp_path: Path
) -> None:
    script = f"test -e /flags/broken && exit 4; exec {HTTPD}"
    spawner = make(
        remove=False,
        volumes={str(tmp_path): "/flags"},
        extra_host_config={"restart_policy": {"Name": "always"}},
        cmd=["sh", "-c", script],
    )

    def policy() -> str:
        return str(client.containers.get(spawner.object_id).attrs["HostConfig"]["RestartPolicy"]["Name"])

    await spawner.start()
    assert policy() == "always"
    made = spawner.object_id
    await spawner.stop()
    (tmp_path / "broken").touch()
    with pytest.raises(Exception, match=r"The server ended with exit code 4\."):
        await spawner.start()
    (tmp_path / "broken").unlink()
    await spawner.start()
    assert (spawner.object_id, policy()) == (made, "always")
    await spawner.stop()
    client.containers.get(made).remove(force=True)


@pytest.mark.parametrize(
    ("ip", "why"),
    [
        ("127.0.0.1", "The setting ip is '127.0.0.1': the server listens only inside its container."),
        ("::", "The setting ip is '::', but the hub calls the server by IPv4."),
    ],
)
async def test_start_of_a_server_that_listens_elsewhere_names_the_setting(make: Any, ip: str, why: str) -> None:
    # Like Jupyter's server, which does not accept IPv4 on ::.
    listen = f"exec httpd -f -p {ip}:8888 -h /www" if ip != "::" else "exec httpd -f -p [::1]:8888 -h /www"
    error = await failure_of(make(remove=True, ip=ip, start_timeout=2, cmd=["sh", "-c", listen]))
    assert f"{why} It must be 0.0.0.0. Please contact an administrator." in error.jupyterhub_message


async def test_start_as_root_without_capabilities_names_the_restriction(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    restricted = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
    spawner = make(
        remove=True,
        extra_create_kwargs={"user": "0"},
        extra_host_config=restricted,
        cmd=["sh", "-c", "chown 1000 /www"],
    )
    spawner.log.propagate = True
    message = (await failure_of(spawner)).jupyterhub_message
    assert "exit code 1. It runs as root without root's capabilities (cap_drop)" in message
    assert "Ask an administrator to start the image as its own user" in message
    assert "Operation not permitted" in message
    assert "cap_drop in extra_host_config" in caplog.text
    assert "uid 1000" in caplog.text


async def test_start_of_the_real_image_that_can_not_reach_the_hub_shows_address_and_reason(make: Any) -> None:
    settings = {"image": notebook_image(), "ready_check": "jupyterhub", "start_timeout": 20, "remove": True}
    message = (await failure_of(make(hub_connect_url="http://no-such-hub:8081", **settings))).jupyterhub_message
    unreachable = "The server can't reach the hub at http://no-such-hub:8081/hub/api: unknown host name"
    assert message.count(unreachable) == 1
    assert "Traceback" not in message
    assert "^^^" not in message


async def test_start_that_fails_with_a_traceback_shows_its_last_line(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frames = "\n".join(f'  File "x.py", line {n}, in f\\n    f()\\n    ~^^' for n in range(40))
    said = f"starting\nTraceback (most recent call last):\n{frames}\nValueError: no such thing"
    spawner = make(remove=True, cmd=["printf", said])
    spawner.log.propagate = True
    with caplog.at_level("INFO", spawner.log.name):
        message = (await failure_of(spawner)).jupyterhub_message
    assert message.split("\n")[1:] == ["starting", "ValueError: no such thing"]
    # The hub's log has the whole end of it.
    assert 'File "x.py", line 39, in f' in caplog.text
