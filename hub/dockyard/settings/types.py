"""How a setting is declared, and the kinds of values that settings have."""

from __future__ import annotations

import csv
import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

# The type of an error whose message must not show the value, because it contains credentials.
HIDDEN: Final = "hidden"


def setting(
    group: str,
    help: str,
    default: Any = ...,
    *,
    generate: str = "",
    pattern: str | None = None,
    hidden: bool = False,
    gate: bool = False,
    **limits: Any,
) -> Any:
    """Declare one setting; without a default it is required. `generate` names the kind of value that `scripts/env`
    writes into a new `.env`: password, passphrase, hex, socket-gid."""
    return Field(
        default,
        description=help,
        pattern=pattern,
        json_schema_extra={"group": group, "generate": generate, "hidden": hidden, "gate": gate},
        **limits,
    )


def extra(field: FieldInfo) -> dict[str, Any]:
    """What `setting` has noted of a setting."""
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra


def is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr


def _true_or_false(value: Any) -> Any:
    known = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str):
        if value.lower() not in known:
            raise ValueError("must be true or false")
        return known[value.lower()]
    return value


def _comma_separated(value: Any) -> Any:
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _address(value: str) -> str:
    if not is_address(value):
        raise ValueError("must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0")
    return value


def _subnet(value: str) -> str:
    try:
        if value and ip_network(value).version == 4:
            return value
    except ValueError:
        pass
    if value:
        raise ValueError("must be an IPv4 network, such as 10.96.0.0/16")
    return value


def _subnets(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must have at least one network, such as 10.213.0.0/18")
    for text in map(_subnet, value):
        network = ip_network(text)
        if not network.is_private or network.is_link_local or network.prefixlen > 29:
            raise ValueError(f"has {text}: private addresses are wanted, eight or more, such as 10.213.0.0/18")
    return value


def _resolvers(value: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [text for text in value if not is_address(text)]:
        raise ValueError(f"has {wrong[0]!r}, which is not an IP address, such as 10.0.0.2")
    return value


def _options(value: Any) -> Any:
    """{name: value} of a text that is spelt as docker spells the parts of --mount."""
    if not isinstance(value, str):
        return value
    try:
        (items,) = csv.reader([value], strict=True)
    except csv.Error:
        raise ValueError("has double quotes that do not end, or not before a comma") from None
    if wrong := [item for item in items if not re.match(r"[\w.-]+=.", item)]:
        raise ValueError(
            f"has {wrong[0]!r}, which is not of the form name=value: an option with commas stands in double quotes, "
            "as in 'type=nfs,\"o=addr=10.0.0.1,nfsvers=4\",device=:/homes/{username}'"
        )
    return dict(item.split("=", 1) for item in items)


def _absolute(value: str) -> str:
    if value and (not value.startswith("/") or ":" in value):
        raise ValueError("must be an absolute path without ':'")
    return value


def _origin(value: str) -> str:
    if not value:
        return value
    if "://" not in value:
        raise ValueError(f"must begin with https:// or http://, as in https://{value}")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"is not a valid URL ({error})") from None
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None or re.search(r"\s", value):
        raise ValueError("must be of the form https://hub.example.org")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            "must end after the host. If the hub is below a path, set c.JupyterHub.base_url in hub/config.d"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])(?::\d+)?"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?", re.ASCII)


def _image(value: str) -> str:
    # What users write is in braces.
    if value and "{" not in value and not _IMAGE.fullmatch(value):
        raise ValueError(
            f"has {value!r}, which is not the name of an image, such as quay.io/jupyter/base-notebook:latest"
        )
    return value


def _images(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_image, value))


def _without_credentials(value: Any) -> Any:
    if isinstance(value, str) and re.search("[@?#]", value):
        raise PydanticCustomError(
            HIDDEN,
            "contains a user name, a password or a query. A build would show it in `ps`, in the history of images, "
            "and to users. Name a mirror that needs none, such as a caching proxy in your network",
        )
    return value


Switch = Annotated[bool, BeforeValidator(_true_or_false)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Options = Annotated[dict[str, str], NoDecode, BeforeValidator(_options)]
Subnet = Annotated[str, AfterValidator(_subnet)]
Subnets = Annotated[Names, AfterValidator(_subnets)]
Resolvers = Annotated[Names, AfterValidator(_resolvers)]
Address = Annotated[str, AfterValidator(_address)]
Image = Annotated[str, AfterValidator(_image)]
Images = Annotated[Names, AfterValidator(_images)]
HostPath = Annotated[str, AfterValidator(_absolute)]
Origin = Annotated[str, AfterValidator(_origin)]
Mirror = Annotated[str, BeforeValidator(_without_credentials)]

# What Linux takes as the largest number of processes.
MOST_PIDS = 2**22
# Thirty years. A much later moment is none that Python knows.
MOST_SECONDS = 10**9

URL = r"^(https?://[^\s/]+(/\S*)?)?$"
# Without a query and characters that mean something to a build's `sed`.
MIRROR = r"^(https?://[^\s/?#|&\\]+(/[^\s?#|&\\]*)?)?$"

# JupyterLab of the kit's image starts within 64M, not within 48M. Below 6M, the engine takes no reservation.
LEAST_LIMIT, LEAST_GUARANTEE = 64 * 2**20, 6 * 2**20
LEAST_TMP = 16 * 2**20
# The largest number that the engine can read.
_MOST = 2**63 - 1
# Of at most 20 digits: Python reads no number of thousands of them.
_MEMORY = re.compile(r"(\d{1,20}(?:\.\d{1,20})?|\.\d{1,20})([KMGT]?)", re.ASCII)
_TOO_LONG = re.compile(r"[\d.]{20,}[KMGT]?", re.ASCII)


def in_bytes(memory: str | float) -> int:
    """Convert an amount of memory to bytes: a number of bytes, or a number with K, M, G or T (powers of 1024).

    The only parser of such amounts: hub, spawner and gate use what it returns. Raises ValueError; the message follows
    the setting's name.
    """
    match = _MEMORY.fullmatch(str(memory).strip()) if not isinstance(memory, bool) else None
    if not match and _TOO_LONG.fullmatch(str(memory).strip()):
        raise ValueError("is more memory than any machine has: write a value such as 2G")
    if not match:
        raise ValueError("must be a number with K, M, G or T after it, such as 512M or 2G, or a number of bytes")
    number, unit = match.groups()
    amount = int(float(number) * 1024 ** " KMGT".index(unit or " ")) if unit or "." in number else int(number)
    if amount > _MOST:
        raise ValueError("is more memory than any machine has: write a value such as 2G")
    return amount


def readable(amount: int) -> str:
    """Format an amount of memory: 2147483648 is 2G."""
    for power, unit in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if amount >= 1024**power:
            return f"{round(amount / 1024**power, 1):g}{unit}"
    return f"{amount} bytes"


def limit(memory: str | float) -> int:
    """Convert a memory limit to bytes. Raises ValueError also if no notebook server starts within it."""
    if (amount := in_bytes(memory)) < LEAST_LIMIT:
        raise ValueError(
            f"is {readable(amount)}, too little for a notebook server: write {readable(LEAST_LIMIT)} or more, "
            "with its unit, such as 512M or 2G"
        )
    return amount


def guarantee(memory: str | float | None) -> int | None:
    """Convert a memory guarantee to bytes, or to None. Raises ValueError also if the engine can't reserve so little."""
    if memory is None or memory == "":
        return None
    if (amount := in_bytes(memory)) < LEAST_GUARANTEE:
        raise ValueError(
            f"is {readable(amount)}, less than the engine can reserve: write {readable(LEAST_GUARANTEE)} or more, "
            "with its unit, such as 512M"
        )
    return amount


def tmp_size(memory: str | float) -> int:
    """Convert the size of a tmpfs at /tmp to bytes; 0 means none. Raises ValueError also if programs need more room."""
    amount = in_bytes(memory)
    if amount < LEAST_TMP and str(memory).strip() != "0":
        raise ValueError(
            f"is {readable(amount)}, too little for temporary files: write {readable(LEAST_TMP)} or more, such as "
            "512M, or 0 for no limit"
        )
    return amount


TmpSize = Annotated[int, BeforeValidator(tmp_size)]
MemoryLimit = Annotated[int, BeforeValidator(limit)]
MemoryGuarantee = Annotated[int | None, BeforeValidator(guarantee)]
