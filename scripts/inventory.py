"""A software bill of materials of the image in which this runs, on its standard output: CycloneDX 1.6, as JSON.

It is sent into an image on standard input, so it knows Python's own library only. In it are the packages of Debian, of
Python and of npm that are there, each with its version, its package URL and the licences that it names.
"""

from __future__ import annotations

import email.parser
import json
import platform
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]

# A whole text is no name.
_NAME = r"[\w(][\w.+/(), -]{0,60}"
# The licences in Debian's machine-readable copyright files, and those that other such files point at.
_NAMED = re.compile(rf"^License: *({_NAME}?) *$", re.MULTILINE)
_COMMON = re.compile(r"/usr/share/common-licenses/([\w+-]+(?:\.\d+)*)")
_CLASSIFIED = "License :: OSI Approved :: "


def component(kind: str, name: str, version: str, licences: list[str], **qualifiers: str) -> Component:
    url = f"pkg:{kind}/{quote(name, safe='/')}@{quote(version, safe='')}"
    if qualifiers:
        url += "?" + "&".join(f"{key}={quote(value, safe='')}" for key, value in sorted(qualifiers.items()))
    named = [{"license": {"name": one}} for one in dict.fromkeys(licences)]
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url, "licenses": named}


def of_debian() -> Iterator[Component]:
    """Of dpkg's own list; licences from the file that every package of Debian brings."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE))
    for entry in Path("/var/lib/dpkg/status").read_text().split("\n\n"):
        fields = email.parser.HeaderParser().parsestr(entry)
        if (fields["Status"] or "").endswith(" installed"):
            text = Path(f"/usr/share/doc/{fields['Package']}/copyright")
            copyright = text.read_text(errors="replace") if text.exists() else ""
            licences = (_NAMED if copyright.startswith("Format:") else _COMMON).findall(copyright)
            yield component(
                "deb/debian", fields["Package"], fields["Version"], sorted(set(licences)),
                arch=fields["Architecture"], distro=release.get("VERSION_CODENAME", ""),
            )  # fmt: skip


def of_python(root: Path) -> Iterator[Component]:
    for path in sorted(root.rglob("*.dist-info/METADATA")):
        fields = email.parser.HeaderParser().parsestr(path.read_text(errors="replace"))
        given = [fields["License-Expression"] or ""]
        if not any(given):
            given = [one.removeprefix(_CLASSIFIED) for one in fields.get_all("Classifier", []) if _CLASSIFIED in one]
        if not any(given):
            given = [line for line in (fields["License"] or "").splitlines()[:1] if re.fullmatch(_NAME, line)]
        name = re.sub(r"[-_.]+", "-", fields["Name"]).lower()
        yield component("pypi", name, fields["Version"], [one for one in given if one])


def of_npm(root: Path) -> Iterator[Component]:
    for path in sorted(root.rglob("node_modules/**/package.json")):
        package = json.loads(path.read_text(errors="replace"))
        # Packages have files of that name inside, too, which say less.
        if path.parent.parent.name != "node_modules" and path.parent.parent.parent.name != "node_modules":
            continue
        if package.get("name") and package.get("version"):
            given = package.get("license") or [one.get("type") for one in package.get("licenses") or ()]
            licences = given if isinstance(given, list) else [given.get("type") if isinstance(given, dict) else given]
            yield component("npm", package["name"], package["version"], [x for x in licences if x])


def of_interpreter() -> Iterator[Component]:
    """Python itself, where it does not come from Debian."""
    if Path(sys.base_prefix) != Path("/usr"):
        yield component("generic", "python", platform.python_version(), ["PSF-2.0"])


def bill(image: str, identity: str, version: str) -> dict[str, Any]:
    """The bill of the image of that name; `identity` is its id or digest."""
    roots = [Path(root) for root in ("/opt", "/usr/local/lib", "/usr/lib/python3")]
    found = [*of_debian(), *of_interpreter(), *(one for root in roots for one in (*of_python(root), *of_npm(root)))]
    components = {one["bom-ref"]: one for one in found}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "component": {
                "type": "container", "bom-ref": image, "name": image, "version": version,
                "properties": [{"name": "image", "value": identity}],
            },
        },
        "components": [components[reference] for reference in sorted(components)],
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(bill(*sys.argv[1:4]), sys.stdout, indent=1)
    print()
