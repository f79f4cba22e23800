from __future__ import annotations

import asyncio
import io
import ssl
import tarfile
from pathlib import Path
from typing import Any

import pytest
from certipy import Certipy

from dockerspawner import DockerSpawner
from dockerspawner._start import readiness
from dockerspawner._start.certificates import FOLDER
from support.fake_engine import FakeClient, api_error, fake_engine
from support.spawners import make_spawner

IN_CONTAINER = {
    "keyfile": f"{FOLDER}/key.pem",
    "certfile": f"{FOLDER}/cert.pem",
    "cafile": f"{FOLDER}/ca.pem",
}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    found = {name: str(tmp_path / name) for name in IN_CONTAINER}
    for name, path in found.items():
        Path(path).write_text(f"the {name}")
    return found


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


class Client(FakeClient):
    """Keeps what is put into a container; its image has the user jovyan."""

    def __init__(self, passwd: bool = True) -> None:
        super().__init__()
        self.put: dict[str, Any] = {}
        self.passwd = passwd

    def inspect_container(self, key: str) -> dict[str, Any]:
        return {"Config": {"User": "jovyan", "Env": []}}

    def get_archive(self, key: str, path: str, chunk_size: int) -> tuple[list[bytes], dict[str, Any]]:
        content = b"jovyan:x:1000:100::/:" if self.passwd else b""
        packing = io.BytesIO()
        with tarfile.open(fileobj=packing, mode="w") as tar:
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        return [packing.getvalue()], {}

    def put_archive(self, key: str, path: str, data: bytes) -> None:
        self._call("put_archive")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for entry in tar:
                file = tar.extractfile(entry)
                assert file
                self.put[f"{path}/{entry.name}"] = (entry.uid, entry.gid, entry.mode, file.read())


def spawner_on(client: FakeClient, **traits: Any) -> Any:
    spawner = make_spawner(engine=fake_engine(client), internal_ssl=True, **traits)
    spawner.object_id = "abc"
    return spawner


async def test_keys_are_the_servers_alone(paths: dict[str, str]) -> None:
    client = Client()
    spawner = spawner_on(client, instance="hub")
    assert await spawner.move_certs(paths) == IN_CONTAINER
    assert spawner.mount_binds == [
        {
            "Target": FOLDER,
            "Source": None,
            "Type": "volume",
            "ReadOnly": False,
            "VolumeOptions": {
                "NoCopy": True,
                "Labels": {"dockyard.instance": "hub", "dockyard.user": "ann", "dockyard.server": ""},
            },
        }
    ]
    await spawner._certs.place()
    assert client.put == {
        f"{FOLDER}/key.pem": (1000, 100, 0o600, b"the keyfile"),
        f"{FOLDER}/cert.pem": (1000, 100, 0o600, b"the certfile"),
        f"{FOLDER}/ca.pem": (1000, 100, 0o600, b"the cafile"),
    }


async def test_servers_that_start_at_once_get_the_keys_that_were_made_for_each(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub writes them to the same files, whatever the server."""

    async def create_certs(self: Any) -> dict[str, str]:
        write(paths["keyfile"], f"of {self.name}")
        return paths

    monkeypatch.setattr("jupyterhub.spawner.Spawner.create_certs", create_certs)
    servers = [spawner_on(Client(), server=name) for name in ("lab", "work")]
    found = [await server.create_certs() for server in servers]
    for server, made in zip(servers, found, strict=True):
        await server.move_certs(made)
    assert [server._certs.files["key.pem"] for server in servers] == [b"of lab", b"of work"]


async def test_a_kept_container_fits_with_the_keys_of_another_start(paths: dict[str, str]) -> None:
    hashes = []
    for key in ("one", "other"):
        write(paths["keyfile"], key)
        spawner = spawner_on(FakeClient(), image="tiny", instance="hub")
        spawner.cert_paths = await spawner.move_certs(paths)
        await spawner._create_kwargs()
        hashes.append(spawner._attempt.spec_hash)
    assert hashes[0] == hashes[1]


async def test_a_subclass_that_moves_them_itself_is_left_alone(paths: dict[str, str]) -> None:
    class Own(DockerSpawner):
        async def move_certs(self, paths: Any) -> Any:
            return paths

    client = Client()
    spawner = spawner_on(client, cls=Own)
    assert await spawner.move_certs(paths) == paths
    assert spawner.mount_binds == []
    await spawner._certs.place()
    assert client.put == {}


async def test_a_user_whom_the_image_does_not_know_gets_no_key(paths: dict[str, str]) -> None:
    spawner = spawner_on(Client(passwd=False))
    await spawner.move_certs(paths)
    with pytest.raises(Exception, match="does not say which uid its user has"):
        await spawner._certs.place()


async def test_a_container_from_before_says_so(paths: dict[str, str]) -> None:
    client = Client()
    client.fail["put_archive"] = [api_error(404, "Could not find the file")]
    spawner = spawner_on(client)
    await spawner.move_certs(paths)
    with pytest.raises(Exception, match="was made when the hub had no internal_ssl"):
        await spawner._certs.place()


async def test_addresses_and_names() -> None:
    spawner = make_spawner(internal_ssl=True, trusted_alt_names=["IP:10.0.0.1"])
    assert spawner.use_internal_hostname
    assert spawner.ssl_alt_names == ["IP:10.0.0.1", "DNS:jupyter-ann"]
    assert await spawner.get_url() == "https://jupyter-ann:8888/user/ann/"
    published = {"internal_ssl": True, "use_internal_hostname": False}
    assert make_spawner(host_ip="10.0.0.2", **published).ssl_alt_names == ["DNS:jupyter-ann", "IP:10.0.0.2"]
    assert make_spawner(host_ip="docker.lan", **published).ssl_alt_names == ["DNS:jupyter-ann", "DNS:docker.lan"]


# What is an answer


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str, str]:
    certipy = Certipy(store_dir=str(tmp_path / "store"))
    certipy.create_ca("ca")
    files = certipy.create_signed_pair("server", "ca")["files"]
    return files["cert"], files["key"], files["ca"]


@pytest.mark.parametrize(
    ("version", "asks", "has", "answers"),
    [
        (ssl.TLSVersion.TLSv1_3, False, False, True),
        (ssl.TLSVersion.TLSv1_3, True, True, True),
        (ssl.TLSVersion.TLSv1_3, True, False, False),
        (ssl.TLSVersion.TLSv1_2, True, True, True),
        (ssl.TLSVersion.TLSv1_2, False, False, True),
        (None, False, False, False),
    ],
    ids=["1.3", "1.3 asking for a certificate", "1.3 without one", "1.2 asking for a certificate", "1.2", "HTTP"],
)
async def test_ask_through_tls(certificate: Any, version: Any, asks: bool, has: bool, answers: bool) -> None:
    context = None
    if version:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        context.load_verify_locations(certificate[2])
        context.maximum_version = version
        context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 5\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        spawner: Any = make_spawner(internal_ssl=True)
        if has:
            spawner.user.settings = {"internal_ssl_cert": certificate[0], "internal_ssl_key": certificate[1]}
        answer = await readiness.ask("127.0.0.1", port, "/", spawner._certs.tls_context())
    assert (answer.headers if answer else None) == ({"x-jupyterhub-version": "5"} if answers else None)


async def test_a_port_that_only_accepts_is_no_answer_by_tls_either() -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await readiness.ask("127.0.0.1", port, "/", make_spawner(internal_ssl=True)._certs.tls_context()) is None
