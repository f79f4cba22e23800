"""Names: escaping, templates, and unique names that fit."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable, Mapping
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Unicode, observe, validate

from dockerspawner._core import Core
from dockerspawner._errors.failures import misconfigured
from dockerspawner._settings.templates import TemplateError, fill

DNS_LABEL = 63
VOLUME_NAME = 255

_DNS_SAFE = frozenset(string.ascii_lowercase + string.digits)
_LEGACY_SAFE = frozenset(string.ascii_letters + string.digits + "-")


def dns_escape(text: str) -> str:
    """Lower-case letters, digits and `-` only; different texts give different results.

    Every other byte of the UTF-8 text, `-` among them, becomes `-` and two hexadecimal digits.
    """
    return "".join(c if c in _DNS_SAFE else "".join(f"-{byte:02x}" for byte in c.encode()) for c in text)


def legacy_escape(text: str) -> str:
    """What deployments from before DNS-safe names use: letters, digits and `-` stay, `_` is the escape.

    Differs from a DNS label by capitals and `_`.
    """
    return "".join(c if c in _LEGACY_SAFE else "".join(f"_{byte:X}" for byte in c.encode()) for c in text)


def fit(name: str, limit: int) -> str:
    """`name` itself where it has at most `limit` characters, else its beginning and a hash of the whole.

    The hash follows `-x`, which `dns_escape` never writes: a cut name is nobody's full name.
    """
    if len(name) <= limit:
        return name
    tail = hash_suffix(name)
    return name[: limit - len(tail)].rstrip("-") + tail


def case_suffix(template: str, server: str) -> str:
    """Return a suffix for a Docker name if its template has {servername} and the server's name has capitals.

    {servername} ignores case. With the suffix, servers whose names differ only in case have different Docker names.
    Names in lower case do not change.
    """
    if server == server.lower() or "{servername" not in template or "{raw_servername" in template:
        return ""
    return hash_suffix(server)


def hash_suffix(text: str) -> str:
    """Compute a suffix that makes a name unique; `dns_escape` never produces its beginning."""
    return "-x" + hashlib.sha256(text.encode()).hexdigest()[:12]


class Naming(Core):
    """What the container of a user's server is called."""

    prefix = Unicode("jupyter", config=True, help="First part of container names.")

    name_template = Unicode(
        config=True,
        help="""Name of the container. Placeholders: {prefix}, {username} (escaped; {safe_username} is the
        same),
        {raw_username}, {servername} (escaped), {raw_servername}, {imagename}.
        Default: `{prefix}-{username}`, for a named server `{prefix}-{username}--{servername}`.
        A name longer than a DNS label (63 characters) is cut and given a hash of the whole.""",
    )

    escape = AnyTrait(
        config=True,
        help="""How user and server names are escaped: a callable (text -> text), or "legacy".
        Default: DNS-safe, different names never become the same.""",
    )

    object_name = Unicode(help="Name of the container in use.")

    def _name_template_default(self) -> str:
        return "{prefix}-{username}--{servername}" if self.name else "{prefix}-{username}"

    def _escape_default(self) -> Callable[[str], str]:
        return self._escape

    @validate("escape")
    def _validate_escape(self, proposal: Any) -> Callable[[str], str]:
        if proposal.value == "legacy":
            return self._legacy_escape
        if not callable(proposal.value):
            raise ValueError(f'escape must be a callable or "legacy", not {proposal.value!r}')
        return proposal.value  # type: ignore[no-any-return]

    def _object_name_default(self) -> str:
        try:
            return self._rendered_name()
        except Exception:
            # The hub's pages read the name of every server: only a start may fail because of it.
            return fit(self.name_template, DNS_LABEL)

    def _rendered_name(self) -> str:
        """Render the container's name from name_template; fail if the result is empty."""
        suffix = case_suffix(self.name_template, self.name)
        name = fit(self._fill("name_template", self.name_template) + suffix, DNS_LABEL)
        if not name:
            raise misconfigured("The setting name_template results in an empty name.")
        return name

    def _fill(self, setting: str, template: str, namespace: Mapping[str, Any] | None = None) -> str:
        """Fill the placeholders of a template; a failure names the setting and the template."""
        try:
            return fill(template, self.template_namespace() if namespace is None else namespace)
        except TemplateError as error:
            raise misconfigured(f"The setting {setting} has the invalid value {template!r}: {error}.") from None

    def format_string(self, s: str) -> str:
        """Fill a template of JupyterHub's settings, such as notebook_dir."""
        return self._fill("default_url" if s == self.default_url else "notebook_dir", s)

    @property
    def _former_name(self) -> str:
        """Return the container's name from when case was ignored; empty if the server's name has no capitals."""
        if not case_suffix(self.name_template, self.name):
            return ""
        try:
            return fit(fill(self.name_template, self.template_namespace()), DNS_LABEL)
        except TemplateError:
            return ""

    def _forget_former_name(self) -> None:
        """After a rename of the user or the server, use the current name for the next start."""
        if self._is_renamed or self.object_name == self._former_name:
            self._rename()

    def _rename(self, name: str = "") -> None:
        """Use `name` for the container, or without it the configured name."""
        self.object_name = name or self._object_name_default()

    @observe("image")
    def _image_changed(self, change: Any) -> None:
        if "{imagename}" in self.name_template:
            self.object_name = self._object_name_default()

    @staticmethod
    def _escape(text: str) -> str:
        return dns_escape(text)

    @staticmethod
    def _legacy_escape(text: str) -> str:
        return legacy_escape(text)

    @property
    def escaped_name(self) -> str:
        """The user's name as it may stand in names of Docker's objects."""
        return self.escape(self.user.name)  # type: ignore[no-any-return]

    @property
    def container_name(self) -> str:
        return self.object_name

    def template_namespace(self) -> dict[str, Any]:
        """The placeholders of every template that the spawner renders."""
        image = self.image
        for separator in "/:@":
            image = image.replace(separator, "-")
        return {
            **super().template_namespace(),
            "username": self.escaped_name,
            "safe_username": self.escaped_name,
            "raw_username": self.user.name,
            "imagename": image,
            # Lower case because volumes of existing deployments are named so.
            "servername": self.escape(self.name.lower()),
            "raw_servername": self.name,
            "prefix": self.prefix,
        }
