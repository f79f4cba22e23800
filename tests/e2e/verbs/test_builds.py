"""Where the images come from: a registry, a mirror, an authority; and what is said where one of them is wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import docker
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from support.kit import Kit
from support.registry import Registry
from support.registry import registry as own_registry
from support.repo import ROOT, base_image, tracked
from support.tiny import tiny_image


def tracked_text(kit: Kit) -> dict[Path, str]:
    return {path: (kit.folder / path.relative_to(ROOT)).read_text() for path in tracked("compose", "hub", "singleuser")}


def test_the_base_is_pulled_from_a_registry(another: Kit, registry: Registry) -> None:
    client = docker.from_env()
    reference = registry.push(client.images.get(base_image()), "python:3.13")
    assert not client.images.list(reference)
    another.write_env(PYTHON_IMAGE=reference)
    another.make("build")
    assert client.images.list(reference)
    base = client.images.get(reference).attrs["RootFS"]["Layers"]
    for name in ("hub", "proxy", "singleuser"):
        layers = client.images.get(f"{another.project}-{name}:0.1.0").attrs["RootFS"]["Layers"]
        assert layers[: len(base)] == base
    client.images.remove(reference)


def test_a_base_that_is_pinned_is_built_on_whatever_the_tag_becomes(another: Kit) -> None:
    client = docker.from_env()
    name = "python:3.13-slim-trixie"
    with own_registry() as registry:
        first = registry.push(client.images.get(base_image()), name)
        # Here, the registry that is asked is this one.
        named_in = ("hub/dockyard/settings/fields.py", "compose/compose.yaml", ".env.example")
        for path in (another.folder / one for one in named_in):
            path.write_text(path.read_text().replace(name, first))
        (another.folder / ".venv").symlink_to(ROOT / ".venv")
        another.run("scripts/pin", first, env={"DEFAULTS": "1"})
        (pinned,) = re.findall(r"^#PYTHON_IMAGE=(.*)$", (another.folder / ".env.example").read_text(), re.MULTILINE)
        assert re.fullmatch(rf"{first}@sha256:[0-9a-f]{{64}}", pinned)
        for path in ("hub/dockyard/settings/fields.py", "compose/compose.yaml", "hub/README.md"):
            assert pinned in (another.folder / path).read_text()
        # Not as the default, for which this machine may have a stand-in.
        shutil.copy(ROOT / ".env.example", another.folder)
        another.write_env(PYTHON_IMAGE=first, EDGE_IMAGE="caddy:2.11")
        before, others = another.env_file.read_text(), tracked_text(another)
        another.run("scripts/pin", first)
        # In its place, and nowhere else.
        assert another.env_file.read_text() == before.replace(f"PYTHON_IMAGE={first}", f"PYTHON_IMAGE={pinned}")
        assert another.env_file.stat().st_mode & 0o777 == 0o600
        assert tracked_text(another) == others
        another.run("scripts/pin", first)
        assert another.run("scripts/pin", f"{registry.host}/nosuch:1", check=False).returncode != 0
        registry.push(client.images.get(tiny_image()), name)
        another.make("build")
    layers = client.images.get(f"{another.project}-hub:0.1.0").attrs["RootFS"]["Layers"]
    base = client.images.get(base_image()).attrs["RootFS"]["Layers"]
    assert layers[: len(base)] == base
    # The registry has gone: what is here is not asked for again.
    assert another.run("scripts/build", "base").stdout.strip() == pinned
    client.images.remove(pinned.replace(":3.13-slim-trixie@", "@"))


def test_a_base_that_the_registry_does_not_have(another: Kit, registry: Registry) -> None:
    another.write_env(PYTHON_IMAGE=f"{registry.host}/nosuch:1")
    done = another.make("build", check=False)
    assert done.returncode != 0
    assert f"PYTHON_IMAGE {registry.host}/nosuch:1 can't be pulled" in done.stdout


def test_a_bill_of_materials_of_each_image(up: Kit) -> None:
    """By CycloneDX's own schema; with everything in it that the lock files name, and what Debian's dpkg lists."""
    said = up.make("sbom").stdout
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    found = {}
    for name in ("hub", "proxy", "singleuser"):
        text = (up.folder / f".artifacts/sbom/{name}.json").read_text()
        assert validator.validate_str(text) is None
        components = json.loads(text)["components"]
        assert f"{name}.json: {len(components)} packages. Licences that they name: " in said
        found[name] = {one["purl"].partition("?")[0]: one for one in components}
    for name in ("hub", "singleuser"):
        locked = (ROOT / name / "requirements.txt").read_text()
        pinned = re.findall(r"^([\w.-]+)==(\S+) (?:; (\S.*) )?\\$", locked, re.MULTILINE)
        always = {f"pkg:pypi/{package}@{version}" for package, version, marker in pinned if not marker}
        assert len(always) > 30
        # What builds the spawner's package is not kept.
        built_by = {"pkg:pypi/setuptools"} if name == "hub" else set()
        assert {purl.partition("@")[0] for purl in always - found[name].keys()} == built_by
    lock = json.loads((ROOT / "hub/proxy/package-lock.json").read_text())["packages"]
    installed = {(path.rpartition("node_modules/")[2], one["version"]) for path, one in lock.items() if path}
    expected = {f"pkg:npm/{package.replace('@', '%40')}@{version}" for package, version in installed}
    assert expected == {purl for purl in found["proxy"] if purl.startswith("pkg:npm/")}
    listed = docker.from_env().containers.run(
        f"{up.project}-proxy:0.1.0", ["-W", "-f", "${Package}\n"], entrypoint="dpkg-query", remove=True
    )
    debian = [purl for purl in found["proxy"] if purl.startswith("pkg:deb/debian/")]
    assert len(debian) == len(listed.split())
    (nodejs,) = [found["proxy"][purl] for purl in debian if purl.startswith("pkg:deb/debian/nodejs@")]
    assert {"license": {"name": "Expat"}} in nodejs["licenses"]
    silent = [purl for one in found.values() for purl, component in one.items() if not component["licenses"]]
    assert len(silent) < 20, silent


def test_an_authority_that_is_not_there(another: Kit) -> None:
    another.write_env(EXTRA_CA_FILE="/nonexistent/ca.pem")
    done = another.make("build", check=False)
    assert done.returncode != 0
    assert "the certificates in /nonexistent/ca.pem can't be read: fix EXTRA_CA_FILE" in done.stdout


def test_only_the_default_base_has_a_stand_in(another: Kit) -> None:
    another.write_env(PYTHON_IMAGE="registry.invalid/python:3")
    done = another.make("build", check=False)
    assert done.returncode != 0
    assert "PYTHON_IMAGE registry.invalid/python:3 can't be pulled" in done.stdout


def test_a_machine_where_nothing_can_be_installed(up: Kit, tmp_path: Path) -> None:
    """No engine; no root, or no known distribution: one sentence with the page to read, and exit 1."""
    release = tmp_path / "os-release"
    release.write_text("ID=fedora\nVERSION_CODENAME=\n")
    # The user of the container may read neither the clone nor its .env.
    folder = shutil.copytree(up.folder, tmp_path / "kit", ignore=shutil.ignore_patterns(".env", ".git"))
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    client = docker.from_env()
    for user, volumes, said in [
        ("1000", {}, "only root may install one"),
        ("0", {str(release): {"bind": "/etc/os-release"}}, "on this system it has to be installed by hand"),
    ]:
        container = client.containers.run(
            f"{up.project}-hub:0.1.0",
            ["/kit/scripts/engine"],
            volumes={str(folder): {"bind": "/kit", "mode": "ro"}, **volumes},
            entrypoint=[],
            user=user,
            network_mode="none",
            detach=True,
        )
        try:
            assert container.wait()["StatusCode"] == 1
            (line,) = container.logs().decode().splitlines()
            assert said in line
            assert "https://docs.docker.com/engine/install/" in line
        finally:
            container.remove()
