"""Servers of system users: with their uid and gid, in the home that they have on the host."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.types import Mount
from jupyterhub.utils import maybe_future
from traitlets import Bool, Integer, Unicode
from traitlets.config import LoggingConfigurable

from dockerspawner.accounts import Account, account_in
from dockerspawner.dockerspawner import DockerSpawner
from dockerspawner.failures import failure

UNKNOWN = -1


class SystemUser(LoggingConfigurable):
    """A server with the uid, the gid and the home of a user of the host.

    uid and gid are looked for in the auth state, in `passwd_file`, in the server's state, in the passwd
    database of the machine or the container that the hub runs in. The first that has them counts.
    """

    host_homedir_format_string = Unicode(
        "/home/{username}",
        allow_none=True,
        config=True,
        help="Path of the user's home on the host. Empty: as passwd_file or the passwd database has it.",
    )

    image_homedir_format_string = Unicode(
        "/home/{username}", config=True, help="Path of the user's home in the container."
    )

    homedir_bind_propagation = Unicode("", config=True, help="Bind propagation of the home, such as rshared.")

    run_as_root = Bool(
        False,
        config=True,
        help="""Start the container as root; its image must then change to NB_UID and NB_GID itself, as
        Jupyter's docker-stacks do. Default: it is started as the user.""",
    )

    passwd_file = Unicode(
        config=True,
        help="""A file in the form of /etc/passwd that has the users, for a hub that does not know them: the host's
        own, mounted into the hub's container, or the output of `getent passwd`. Read at each start.""",
    )

    auth_state_uid_key = Unicode("uid", config=True, help="Key of the uid in the auth state.")
    auth_state_gid_key = Unicode("gid", config=True, help="Key of the gid in the auth state.")

    user_id = Integer(help="The user's uid, -1 where nobody knows it.")
    group_id = Integer(help="The user's gid, -1 where nobody knows it.")

    def _listed(self) -> Account | None:
        """The user's account in passwd_file."""
        if not self.passwd_file:
            return None
        try:
            return account_in(Path(self.passwd_file).read_text(), self.user.name)
        except OSError as error:
            raise failure(f"The passwd_file can't be read: {error}.", reason="settings") from error

    def _account(self) -> Account | None:
        if found := self._listed():
            return found
        try:
            entry = pwd.getpwnam(self.user.name)
        except KeyError:
            return None
        return Account(entry.pw_uid, entry.pw_gid, entry.pw_dir)

    def _user_id_default(self) -> int:
        account = self._account()
        return account.uid if account else UNKNOWN

    def _group_id_default(self) -> int:
        account = self._account()
        return account.gid if account else UNKNOWN

    async def run_auth_state_hook(self, auth_state: Mapping[str, Any] | None) -> None:
        """Take uid and gid from the auth state or passwd_file, where they are; then run the auth_state_hook."""
        listed = await asyncio.to_thread(self._listed)
        if listed:
            self.user_id, self.group_id = listed.uid, listed.gid
        for trait, key in (("user_id", self.auth_state_uid_key), ("group_id", self.auth_state_gid_key)):
            if (number := (auth_state or {}).get(key)) is not None:
                setattr(self, trait, int(number))
        await maybe_future(super().run_auth_state_hook(auth_state))

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        for key in ("user_id", "group_id"):
            if key in state:
                setattr(self, key, state[key])

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return state | {key: number for key in ("user_id", "group_id") if (number := getattr(self, key)) >= 0}

    @property
    def host_homedir(self) -> str:
        """The home on the host. A failure where it is to be looked up and the user is not known."""
        if self.host_homedir_format_string:
            return self.host_homedir_format_string.format(username=self.user.name)  # type: ignore[no-any-return]
        account = self._account()
        if account is None:
            raise self._unknown("home")
        return account.home

    @property
    def homedir(self) -> str:
        """The home in the container."""
        return self.image_homedir_format_string.format(username=self.user.name)  # type: ignore[no-any-return]

    def _home(self) -> str:
        return super()._home() or self.homedir

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        numbers = {"USER_ID": self.user_id, "NB_UID": self.user_id, "NB_GID": self.group_id}
        env |= {"USER": self.user.name, "NB_USER": self.user.name, "HOME": self.homedir}
        return env | {name: str(number) for name, number in numbers.items() if number >= 0}

    @property
    def _home_bind(self) -> dict[str, str]:
        bind = {"bind": self.homedir, "mode": "rw"}
        return bind | {"propagation": self.homedir_bind_propagation} if self.homedir_bind_propagation else bind

    @property
    def volume_binds(self) -> dict[str, dict[str, str]]:
        binds: dict[str, dict[str, str]] = super().volume_binds
        binds.setdefault(self.host_homedir, self._home_bind)
        return binds

    @property
    def mount_binds(self) -> list[Mount]:
        """As before, and the home where another bind has its source already."""
        mounts: list[Mount] = super().mount_binds
        if self.volume_binds[self.host_homedir] != self._home_bind:
            propagation = self.homedir_bind_propagation or None
            mounts.append(Mount(self.homedir, self.host_homedir, type="bind", propagation=propagation))
        return mounts

    def _create_defaults(self) -> dict[str, Any]:
        defaults = {**super()._create_defaults(), "working_dir": self.homedir}
        if self.run_as_root:
            return {**defaults, "user": "0"}
        if self.user_id < 0:
            raise self._unknown("uid")
        return {**defaults, "user": f"{self.user_id}:{self.group_id}" if self.group_id >= 0 else str(self.user_id)}

    def _unknown(self, what: str) -> Exception:
        return failure(
            f"There is no system user {self.user.name} whose {what} the hub knows: neither the auth state, nor "
            "passwd_file, nor the hub's own passwd database has it.",
            reason="user",
        )


class SystemUserSpawner(SystemUser, DockerSpawner):
    """A system user's server as a container."""
