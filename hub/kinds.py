"""How a setting is declared, and the kinds of values that settings have."""

from __future__ import annotations

import csv
import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode


def setting(
    group: str,
    help: str,
    default: Any = ...,
    *,
    generate: str = "",
    pattern: str | None = None,
    **limits: Any,
) -> Any:
    """Declare one setting; without a default it is required. `generate` names the kind of value that `scripts/env`
    writes into a new `.env`: password, passphrase, hex, socket-gid."""
    return Field(
        default,
        description=help,
        pattern=pattern,
        json_schema_extra={"group": group, "generate": generate},
        **limits,
    )


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
        raise ValueError(f"has {wrong[0]!r}, which is no IP address, such as 10.0.0.2")
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
        raise ValueError(f"is no address ({error})") from None
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None or re.search(r"\s", value):
        raise ValueError("must be of the form https://hub.example.org")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end after the host: a hub has a host name (or port) of its own, and no path")
    return f"{parts.scheme}://{parts.netloc.lower()}"


Switch = Annotated[bool, BeforeValidator(_true_or_false)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Options = Annotated[dict[str, str], NoDecode, BeforeValidator(_options)]
Subnet = Annotated[str, AfterValidator(_subnet)]
Subnets = Annotated[Names, AfterValidator(_subnets)]
Resolvers = Annotated[Names, AfterValidator(_resolvers)]
Address = Annotated[str, AfterValidator(_address)]
HostPath = Annotated[str, AfterValidator(_absolute)]
Origin = Annotated[str, AfterValidator(_origin)]

MEMORY = r"^(\d*[1-9]\d*(\.\d+)?|\d+\.\d*[1-9]\d*)[KMGT]?$"
URL = r"^(https?://[^\s/]+(/\S*)?)?$"


def in_bytes(memory: str) -> int:
    """Bytes of a text of the form MEMORY."""
    number, unit = (memory[:-1], memory[-1]) if memory[-1].isalpha() else (memory, "")
    return int(float(number) * 1024 ** " KMGT".index(unit or " "))
