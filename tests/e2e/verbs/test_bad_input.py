"""Bad input: a clear sentence that names the thing and the mend; nothing is started, nothing is lost."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
import pytest
from playwright.sync_api import Browser, expect

from support import browser as do
from support import registry
from support.kit import Kit
from support.tiny import tiny_image
from support.user import Refused, User
from support.wait import wait_until


def refused(kit: Kit, *said: str, **options: object) -> str:
    """`make up` must fail, saying all of `said`, and leave the running kit as it is."""
    before = kit.containers()
    done = kit.make("up", check=False, **options)
    assert done.returncode != 0, done.stdout
    for sentence in said:
        assert sentence in done.stdout
    assert "Dockyard is up" not in done.stdout
    assert kit.containers() == before
    return done.stdout


class TestSheet:
    def test_all_mistakes_at_once(self, restored: Kit) -> None:
        restored.write_env(
            USER_PASSWORD=None, ADMIN_PASSWORD="", COOKIE_SECRET="<hex>", PORTT="1", NAMED_SERVERS="yes",
            MEM_LIMIT="2 G", PROXY_AUTH_TOKEN_FILE="/nonexistent",
        )  # fmt: skip
        said = refused(
            restored,
            "USER_PASSWORD is not set or empty",
            "ADMIN_PASSWORD is not set or empty",
            "COOKIE_SECRET is still a placeholder",
            "PORTT is not a setting; did you mean PORT?",
            "NAMED_SERVERS must be true or false (now: 'yes')",
            "write MEM_LIMIT='...' with single quotes",
            "PROXY_AUTH_TOKEN and PROXY_AUTH_TOKEN_FILE are both set",
            "nothing was started",
        )
        assert restored.setting("PROXY_AUTH_TOKEN") not in said

    def test_windows_line_ends(self, restored: Kit) -> None:
        restored.env_file.write_bytes(restored.env_file.read_bytes().replace(b"\n", b"\r\n"))
        refused(restored, "Windows line ends", "sed -i")

    def test_an_empty_sheet(self, restored: Kit) -> None:
        restored.env_file.write_text("")
        refused(restored, ".env is empty")
        # It would have this name, which stays free for another kit.
        assert not restored.client.volumes.list(filters={"name": "dockyard_kit-folder"})
        # The fixture's `make up` needs a project to come back to.
        restored.write_env(COMPOSE_PROJECT_NAME=restored.project)

    def test_a_socket_of_another_group(self, restored: Kit) -> None:
        gid = restored.setting("DOCKER_GID")
        restored.write_env(DOCKER_GID="54321")
        refused(restored, f"write DOCKER_GID={gid} (now: 54321)")

    def test_a_value_of_all_special_characters_reaches_the_hub_as_it_is(self, restored: Kit) -> None:
        restored.write_env(USER_PASSWORD="""'a $HOME ${X} #b "c" \\d `e` =f'""")
        restored.make("up")
        lena = restored.user("lena")
        lena.password = """a $HOME ${X} #b "c" \\d `e` =f"""
        lena.sign_in()


class TestOwnConfiguration:
    @pytest.fixture
    def own(self, up: Kit) -> Iterator[Path]:
        """A file of the operator, which is removed again; nothing has been started with it."""
        path = up.folder / "hub/config.d/50-own.py"
        yield path
        path.unlink()
        os.chown(path.parent, os.getuid(), -1)
        path.parent.chmod(0o755)

    def test_a_file_that_fails_leaves_the_hub_that_runs(self, up: Kit, own: Path) -> None:
        own.write_text('c.DockerSpawner.volumes["/x"] = "/y"\nc.JupyterHub.active_server_limit = len(5)\n')
        own.chmod(0o644)
        refused(up, "hub/config.d/50-own.py, line 2: TypeError: object of type 'int' has no len()")
        own.write_text('c.DockerSpawner.volumes = {"{prefix}-home-{username}": "/data"}\n')
        refused(up, "c.DockerSpawner has no volume at /home/jovyan")

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder that the hub's user can't read")
    def test_a_folder_that_the_hub_cannot_read_is_not_empty(self, up: Kit, own: Path) -> None:
        own.write_text("")
        own.parent.chmod(0o700)
        os.chown(own.parent, 12345, 12345)
        refused(up, "hub/config.d can't be read by the hub's user, uid 1000", "chmod o+rx hub/config.d")


class TestSecretInAFile:
    def test_it_signs_in(self, restored: Kit, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        secret = tmp_path / "password"
        secret.write_text("from-a-file-of-mine\n")
        secret.chmod(0o644)
        restored.write_env(USER_PASSWORD=None, USER_PASSWORD_FILE=str(secret))
        restored.make("up")
        User(restored.url, "mona", "from-a-file-of-mine").sign_in()

        rotated = tmp_path / "rotated"
        rotated.write_text("another-one-of-mine\n")
        rotated.chmod(0o644)
        rotated.replace(secret)
        said = restored.make("up").stdout
        assert "hub: USER_PASSWORD_FILE changed" in said
        with pytest.raises(Refused):
            User(restored.url, "mona", "from-a-file-of-mine").sign_in()
        User(restored.url, "mona", "another-one-of-mine").sign_in()
        # Nothing that the password could be guessed from is on the engine.
        digest = hashlib.sha256(secret.read_bytes()).hexdigest()[:12]
        assert digest not in json.dumps(restored.container("hub").attrs)

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file that the hub's user can't read")
    def test_one_that_the_hub_may_not_read(self, restored: Kit, tmp_path: Path) -> None:
        secret = tmp_path / "password"
        secret.write_text("from-a-file-of-mine\n")
        secret.chmod(0o600)
        restored.write_env(USER_PASSWORD=None, USER_PASSWORD_FILE=str(secret))
        refused(restored, "USER_PASSWORD cannot be read", "chown 1000")

    def test_one_that_is_not_there(self, restored: Kit) -> None:
        restored.write_env(USER_PASSWORD=None, USER_PASSWORD_FILE="/nonexistent/password")
        refused(restored, "USER_PASSWORD cannot be read from USER_PASSWORD_FILE (No such file")


class TestAddress:
    def test_a_port_that_is_taken(self, restored: Kit) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            restored.write_env(PORT=str(port))
            refused(restored, f"PORT {port} on 127.0.0.1 is taken by another program", "choose another port")

    def test_an_address_of_another_machine(self, restored: Kit) -> None:
        restored.write_env(BIND_ADDR="192.0.2.1")
        refused(restored, "BIND_ADDR 192.0.2.1 is no address of this machine")


def test_an_engine_that_does_not_run(up: Kit) -> None:
    refused(
        up,
        "DOCKER_HOST is unix:///nonexistent.sock, where no engine answers",
        env={"DOCKER_HOST": "unix:///nonexistent.sock"},
    )


class TestImage:
    def test_one_that_does_not_exist(self, restored: Kit) -> None:
        restored.write_env(NOTEBOOK_IMAGE="dockyard-nosuch:1", PULL_POLICY="never")
        restored.make("up")
        last = restored.user("nina").sign_in().start()[-1]
        assert last["failed"]
        assert "dockyard-nosuch:1" in last["message"]
        assert restored.servers() == []

    def test_one_that_exits_at_once_tells_why(self, restored: Kit, browser: Browser) -> None:
        image = f"{restored.project}-broken:1"
        text = f"FROM {restored.project}-hub:0.1.0\nENV HOME=/home/jovyan\nENTRYPOINT []\n" + (
            'CMD ["python3", "-c", "import os; print(\'no licence for \' + os.environ[\'JUPYTERHUB_USER\'],'
            ' os.environ[\'JUPYTERHUB_API_TOKEN\']); raise SystemExit(3)", "--"]\n'
        )
        subprocess.run(["docker", "build", "--quiet", "--tag", image, "-"], input=text, text=True, check=True)
        try:
            restored.write_env(NOTEBOOK_IMAGE=image)
            restored.make("up")
            oda = restored.user("oda")
            with do.page(browser) as page:
                do.fill_in_login(page, oda)
                expect(page.get_by_text("exit code 3").first).to_be_visible()
                expect(page.get_by_text("no licence for oda").first).to_be_visible()
                do.screenshot(page, "failed-start")
            assert restored.servers() == []
        finally:
            docker.from_env().images.remove(image, force=True)


class TestRegistry:
    def test_an_image_of_a_private_one_is_pulled_with_credentials_in_a_file(
        self, restored: Kit, tmp_path: Path
    ) -> None:
        client = docker.from_env()
        with registry.registry(private=True) as place:
            image = place.push(client.images.get(tiny_image()), "lab/tiny:1")
            auth = base64.b64encode(f"{registry.USER}:{registry.PASSWORD}".encode()).decode()
            tmp_path.chmod(0o755)
            (tmp_path / "config.json").write_text(json.dumps({"auths": {place.host: {"auth": auth}}}))
            restored.write_env(
                NOTEBOOK_IMAGE=image, REGISTRY_AUTH_FILE=str(tmp_path / "config.json"), START_TIMEOUT="5"
            )
            restored.make("up")
            try:
                last = restored.user("petra").sign_in().start()[-1]
                # It is no notebook; but it was started.
                assert last["failed"]
                assert client.images.get(image), last["message"]
            finally:
                with contextlib.suppress(docker.errors.ImageNotFound):
                    client.images.remove(image, force=True)
        hub = restored.container("hub")
        environment = "\n".join(hub.attrs["Config"]["Env"]) + hub.exec_run("env").output.decode()
        assert registry.PASSWORD not in environment
        assert auth not in environment

    def test_a_file_without_credentials(self, restored: Kit, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        (tmp_path / "config.json").write_text('{"auths": {}, "credsStore": "desktop"}')
        restored.write_env(REGISTRY_AUTH_FILE=str(tmp_path / "config.json"))
        refused(restored, "REGISTRY_AUTH_FILE", "contains no credentials")


def fill_up(path: Path) -> None:
    """Write zeros to `path` until its file system is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")
class TestFullDisk:
    @pytest.fixture
    def small(self) -> Iterator[Path]:
        """A file system of 8 MB, with a short path: a socket's has 107 characters at most."""
        with TemporaryDirectory(prefix="dyt-") as folder:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
            yield Path(folder)
            subprocess.run(["umount", "--lazy", folder], check=True)

    def test_no_room_for_the_sheet(self, small: Path) -> None:
        kit = Kit(small)
        fill_up(small / "filler")
        done = kit.run("scripts/env", check=False)
        assert done.returncode != 0
        assert "is the disk full?" in done.stdout or "is there room" in done.stdout
        assert list(small.glob(".env*")) == [small / ".env.example"]

        (small / "filler").unlink()
        kit.run("scripts/env")
        assert len(kit.setting("COOKIE_SECRET")) == 64

    def test_no_room_for_the_images(self, another: Kit, small: Path) -> None:
        host = f"unix://{small}/docker.sock"
        # In a network of its own: an engine without a bridge removes the one that it finds.
        command = (
            f"unshare --net dockerd --data-root {small}/data --exec-root {small}/exec --pidfile {small}/pid "
            f"--host {host} --bridge=none --iptables=false --storage-driver=vfs"
        )
        engine = subprocess.Popen(command.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: another.run("docker", "--host", host, "info", check=False).returncode == 0, timeout=60)
            another.write_env()
            done = another.make("up", check=False, env={"DOCKER_HOST": host})
            assert done.returncode != 0
            assert f"The images need 3000 MB in {small}/data" in done.stdout
            assert "make room" in done.stdout
        finally:
            engine.terminate()
            engine.wait(timeout=60)
