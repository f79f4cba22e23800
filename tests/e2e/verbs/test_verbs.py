"""The verbs of the Makefile, on a kit that `make up` brought up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from support.kit import LABEL, Kit
from support.probing import doors_of, opened_by_user
from support.tiny import tiny_image
from support.wait import wait_until


def states(kit: Kit) -> dict[str, str]:
    return {service: kit.container(service).id for service in ("hub", "proxy")}


def test_up_says_how_to_sign_in_and_shows_no_secret(up: Kit) -> None:
    assert f"Dockyard is up:  {up.url}" in up.first_output
    assert "any user name" in up.first_output
    assert str(up.env_file) in up.first_output
    assert not [secret for secret in up.secrets() if secret in up.first_output]
    assert up.env_file.stat().st_mode & 0o777 == 0o600


def test_a_second_up_finds_all_done(up: Kit) -> None:
    before, text = states(up), up.env_file.read_text()
    up.make("up")
    assert states(up) == before
    assert up.env_file.read_text() == text


def test_up_after_a_changed_file_recreates_what_reads_it_and_says_why(up: Kit) -> None:
    """Users' servers go on, with the websockets of their notebooks."""
    own = up.folder / "hub/config.d/50-own.py"
    before, gate = states(up), up.container("gate").id
    hugo = up.user("hugo").sign_in().started()
    server = up.server_of("hugo").id
    with hugo.kernel() as kernel:
        kernel.run("x = 41")
        own.write_text("c.JupyterHub.template_vars = {'hub_title': 'Changed'}\n")
        own.chmod(0o644)
        try:
            said = up.make("up").stdout
            assert "hub: config.d/50-own.py" in said
            assert "gate: " not in said
            # By it, the gate knows that this file raises no limits.
            checked = own.with_name(".checked").read_text()
            assert len(checked) == 65
            assert "Changed" in hugo.session.get(f"{up.url}/hub/home", timeout=30).text
            after = states(up)
            assert (after["hub"] != before["hub"], after["proxy"]) == (True, before["proxy"])
            # The same content, written again.
            own.write_text(own.read_text())
            said = up.make("up").stdout
            assert (states(up), "hub: config.d" in said) == (after, False)
            # As an editor does: another file of the same name.
            draft = own.with_name(".50-own.py.new")
            draft.write_text("c.JupyterHub.template_vars = {'hub_title': 'Again'}\n")
            draft.chmod(0o644)
            draft.replace(own)
            assert "hub: config.d/50-own.py changed" in up.make("up").stdout
            assert own.with_name(".checked").read_text() != checked
            assert "Again" in hugo.session.get(f"{up.url}/hub/home", timeout=30).text
        finally:
            own.unlink()
        assert "hub: config.d/50-own.py was removed" in up.make("up").stdout
        assert not own.with_name(".checked").exists()
        assert kernel.run("print(x + 1)") == "42\n"
    assert (up.server_of("hugo").id, up.container("gate").id) == (server, gate)
    assert states(up)["proxy"] == before["proxy"]
    hugo.stop()


def test_status_and_logs(up: Kit) -> None:
    hana = up.user("hana").sign_in().started()
    status = up.make("status").stdout
    for name in ("-hub-1", "-proxy-1", "-hana"):
        assert f"{up.project}{name}" in status
    assert "JupyterHub is now running" in up.make("logs", "FOLLOW=0").stdout
    hana.stop()


def test_down_stops_all_and_up_finds_users_and_files_again(up: Kit, another: Kit) -> None:
    ivan = up.user("ivan").sign_in().started()
    with ivan.kernel() as kernel:
        kernel.run("open('kept.txt', 'w').write('still here')")
    # An image that asks for an hour, and ends by no signal.
    patient = f"docker run --detach --stop-timeout 3600 --stop-signal USR1 --label dockyard.instance={up.project}"
    up.run(*patient.split(), "--network", "none", "--name", f"{up.project}-patient", tiny_image())
    said = up.make("down").stdout
    assert "Stopping 2 servers of users" in said
    left = up.leftovers()
    assert (left["containers"], left["networks"]) == ([], [])
    assert f"{up.project}-home-ivan" in left["volumes"]

    with second_clone(up, another):
        for verb in ("up", "destroy", "down", "build"):
            assert_foreign(up, another, verb)
    assert up.leftovers() == left

    up.make("up")
    # The cookie still holds: the same database, signed by the same secret.
    assert ivan.model()["servers"] == {}
    ivan.started()
    with ivan.kernel() as kernel:
        assert kernel.run("print(open('kept.txt').read())") == "still here\n"
    ivan.stop()


def test_destroy_asks(up: Kit) -> None:
    done = up.make("destroy", check=False)
    assert done.returncode != 0
    assert "FORCE=1" in done.stdout
    assert up.container("hub").status == "running"


def test_the_proxy_of_dockers_client_reaches_no_container(up: Kit, tmp_path: Path) -> None:
    """Nor do the kit's checks ask it, which does not answer."""
    proxy = "http://someone:hunter2@127.0.0.1:9"
    (tmp_path / "config.json").write_text(
        json.dumps({"proxies": {"default": dict.fromkeys(("httpProxy", "httpsProxy", "ftpProxy", "allProxy"), proxy)}})
    )
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    up.run("docker", "compose", "up", "--detach", "--wait", "--force-recreate", env=environ)
    lola = up.user("lola").sign_in().started()
    for container in (*(up.container(name) for name in ("hub", "proxy", "gate")), up.server_of("lola")):
        assert "hunter2" not in json.dumps(container.attrs), container.name
    lola.stop()
    doctor = up.make("doctor", check=False, env=environ)
    assert doctor.returncode == 0, doctor.stdout


def test_the_shells_variables_do_not_beat_the_sheet(up: Kit) -> None:
    done = up.make("up", env={"PORT": "1", "USER_PASSWORD": "from the shell"})
    assert "the shell has PORT set; it is ignored, what counts is .env" in done.stdout
    assert "the shell has USER_PASSWORD set" in done.stdout
    assert f"Dockyard is up:  {up.url}" in done.stdout


def test_two_kits_on_one_engine(up: Kit, another: Kit) -> None:
    another.write_env()
    another.make("up")
    first, second = up.user("joan").sign_in().started(), another.user("joan").sign_in().started()
    assert up.server_of("joan").id != another.server_of("joan").id
    with first.kernel() as here, second.kernel() as there:
        here.run("open('which', 'w').write('first')")
        there.run("open('which', 'w').write('second')")
        # Neither kit's names or addresses are reachable from the other.
        doors = doors_of(up.server_of("joan"))
        doors[f"{up.project}-joan", 8888] = "by name"
        assert opened_by_user(there, doors) == set()
        assert opened_by_user(here, doors) >= {door for door in doors if door[1] == 8888}
        another.make("down")
        assert here.run("print(open('which').read())") == "first\n"
    assert another.servers() == []
    assert up.server_of("joan").status == "running"
    first.stop()


@contextmanager
def second_clone(first: Kit, second: Kit) -> Iterator[None]:
    """`second` with the name of `first`, while the context lasts."""
    own = second.project
    second.write_env(COMPOSE_PROJECT_NAME=first.project)
    yield
    second.write_env(COMPOSE_PROJECT_NAME=own)


def assert_foreign(first: Kit, second: Kit, verb: str) -> None:
    done = second.make(verb, check=False, env={"FORCE": "1"})
    assert done.returncode != 0
    assert f"the name {first.project} belongs to the kit in {first.folder}" in done.stdout
    assert "COMPOSE_PROJECT_NAME" in done.stdout


def test_a_kit_of_the_same_name_elsewhere_is_not_taken_over(up: Kit, another: Kit) -> None:
    """However many servers of its users run, of images that compose has labelled, and from the folder by a link."""
    client = docker.from_env()
    labels = {"com.docker.compose.project": up.project, "com.docker.compose.service": "notebook"}
    servers = [
        client.containers.run(
            tiny_image(), name=f"{up.project}-of-{name}", labels={**labels, LABEL: up.project}, detach=True
        )
        for name in ("lou", "max")
    ]
    try:
        before, left = states(up), up.leftovers()
        with second_clone(up, another):
            for verb in ("up", "down", "destroy", "build"):
                assert_foreign(up, another, verb)
        assert states(up) == before
        assert up.leftovers() == left
        # Nor does compose take the servers for its own.
        link = another.folder.parent / f"{another.folder.name}-link"
        link.symlink_to(up.folder)
        assert "Dockyard is up" in up.run("make", "-C", str(link), "up").stdout
        assert states(up) == before
        for server in servers:
            server.reload()
            assert server.status == "running"
    finally:
        for server in servers:
            server.remove(force=True)


def test_the_notebook_image_has_no_labels_of_compose(up: Kit) -> None:
    (image,) = [tag for tag in up.leftovers()["images"] if tag.startswith(f"{up.project}-singleuser:")]
    labels = docker.from_env().images.get(image).labels
    assert not [name for name in labels if name.startswith("com.docker.compose.")]


def test_interrupted_up_goes_on_at_the_next(another: Kit) -> None:
    """Ctrl-C while images are built, and again while containers start."""
    another.write_env()
    for moment in ("Building", "Starting"):
        environ = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
        process = subprocess.Popen(
            # Whoever has started the tests may have had Ctrl-C ignored.
            ["env", "--default-signal=INT", "make", "up"],
            cwd=another.folder, env=environ, start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout
        wait_until(lambda p=process, m=moment: m in p.stdout.readline(), timeout=120, interval=0, what=moment)
        if moment == "Starting":
            wait_until(lambda: another.leftovers()["containers"], timeout=60, interval=0.02)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode != 0
    assert "Dockyard is up" in another.make("up").stdout
    another.user("kim").sign_in()


def test_the_images_keep_no_secret(up: Kit) -> None:
    """Neither .env nor the authority that the build was given is in an image."""
    secrets = up.secrets()
    client = docker.from_env()
    tags = up.leftovers()["images"]
    assert {tag.removeprefix(f"{up.project}-").split(":")[0] for tag in tags} >= {"hub", "proxy", "singleuser"}
    for tag in tags:
        history = str(client.images.get(tag).history()) + str(client.images.get(tag).attrs)
        assert not [secret for secret in secrets if secret in history]
        found = client.containers.run(
            tag, ["-c", "ls /run/secrets /dev/shm 2>/dev/null; find / -xdev -name .env 2>/dev/null; true"],
            entrypoint="sh", remove=True, network_mode="none",
        )  # fmt: skip
        assert [line for line in found.decode().split() if not line.endswith(":")] == []
