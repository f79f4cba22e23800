"""Servers of system users: with their uid and gid, in the home that they have on the host."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.types import Mount
from jupyterhub.utils import maybe_future
from traitlets import Bool, Integer, Unicode

from dockerspawner._compat import old_name
from dockerspawner._core import Core
from dockerspawner._errors.failures import failure
from dockerspawner._profiles.overrides import merging
from dockerspawner._storage.accounts import Account, account_in, account_number, groups_in
from dockerspawner._storage.mounts import normal
from dockerspawner._storage.volume_owners import named_for_user
from dockerspawner.dockerspawner import DockerSpawner

UNKNOWN = -1


class SystemUser(Core):
    """A server with the uid, the gid and the home of a user of the host.

    uid and gid come from the first of these sources that has the user: the auth state, `passwd_file`, the server's
    state, the passwd database of the hub's machine or container. The auth state counts only if `auth_state_uid_key`
    and `auth_state_gid_key` name entries. Supplementary groups come from the auth state, `group_file`, or the hub's
    group database, if the operator configured that source.
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

    auth_state_uid_key = Unicode(
        config=True,
        help="""Key of the user's uid in the auth state. The uid is a whole number from 1 to 2147483647, or the same as
        text; any other value fails the start. Default: empty, the spawner does not read the auth state. Set a key
        only if users can't change that entry at the identity provider.""",
    )

    auth_state_gid_key = Unicode(
        config=True, help="Key of the user's primary gid in the auth state; see auth_state_uid_key."
    )

    auth_state_groups_key = Unicode(
        config=True,
        help="""Key of the user's supplementary gids in the auth state, a list of numbers as in auth_state_uid_key.
        Default: empty, the spawner does not read the auth state.""",
    )

    group_file = Unicode(
        config=True,
        help="""Path of a file in the form of /etc/group. The server gets the groups that list the user as a member,
        except group 0. The spawner reads the file at each start. Default: empty, no groups from a file.""",
    )

    lookup_groups = Bool(
        False,
        config=True,
        help="""Whether the server gets the user's supplementary groups from the group database of the hub's machine
        or container, except group 0. The auth state and group_file have precedence. Default: False.""",
    )

    user_id = Integer(UNKNOWN, help="The user's uid, -1 where it is unknown.")
    group_id = Integer(UNKNOWN, help="The user's gid, -1 where it is unknown.")

    # Supplementary gids in the auth state; None without an entry.
    _groups_of_auth_state: list[int] | None = None
    # Of the current start.
    _supplementary: list[int] = []

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
        """Take uid, gid and groups from passwd_file and the auth state; then run the auth_state_hook."""
        listed = await asyncio.to_thread(self._listed)
        if listed:
            self.user_id, self.group_id = listed.uid, listed.gid
        given = auth_state or {}
        for trait, setting in (("user_id", "auth_state_uid_key"), ("group_id", "auth_state_gid_key")):
            key = getattr(self, setting)
            if key and (value := given.get(key)) is not None:
                setattr(self, trait, self._account_number(setting, value))
        key, self._groups_of_auth_state = self.auth_state_groups_key, None
        if key and (values := given.get(key)) is not None:
            if not isinstance(values, list | tuple | set):
                raise self._unusable("auth_state_groups_key", values, "a list of whole numbers")
            self._groups_of_auth_state = sorted({self._account_number("auth_state_groups_key", one) for one in values})
        await maybe_future(super().run_auth_state_hook(auth_state))

    def _account_number(self, setting: str, value: Any) -> int:
        number = account_number(value)
        if number is None:
            raise self._unusable(setting, value, "a whole number from 1 to 2147483647")
        return number

    def _unusable(self, setting: str, value: Any, wanted: str) -> Exception:
        self.log.error(
            "The auth state of %s has %r under the key that %s names: it must be %s",
            self.user.name,
            value,
            setting,
            wanted,
        )
        return failure(
            f"The identity provider has an invalid user or group number for {self.user.name}. "
            f"Ask an administrator to correct it, or the hub's setting {setting}.",
            reason="user",
        )

    def _groups(self) -> list[int]:
        """Return the user's supplementary gids. Blocks if the group database blocks."""
        if self._groups_of_auth_state is not None:
            return self._groups_of_auth_state
        if self.group_file:
            try:
                return groups_in(Path(self.group_file).read_text(), self.user.name)
            except (OSError, UnicodeDecodeError) as error:
                raise failure(
                    f"The file of the setting group_file can't be read: {error}. Ask an administrator.",
                    reason="settings",
                ) from error
        if self.lookup_groups:
            # getgrouplist() requires a primary group, which may be missing in the database. It is removed below.
            found = set(os.getgrouplist(self.user.name, max(self.group_id, 0)))
            return sorted(found - {0, self.group_id})
        return []

    async def _create_kwargs(self) -> dict[str, Any]:
        self._supplementary = await asyncio.to_thread(self._groups)
        return await super()._create_kwargs()

    def _host_settings(self, extra: dict[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = super()._host_settings(extra)
        if not self._supplementary:
            return settings
        return {**settings, "group_add": [*(settings.get("group_add") or ()), *self._supplementary]}

    def _container_settings(self, extra: dict[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = super()._container_settings(extra)
        if not self._supplementary:
            return settings
        return {**settings, "groups": [*(settings.get("groups") or ()), *map(str, self._supplementary)]}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        for key in ("user_id", "group_id"):
            # Ignore root's 0: authenticators for dockerspawner 14 write these entries, too.
            if (number := account_number(state.get(key))) is not None:
                setattr(self, key, number)
            elif key in state:
                self.log.warning("The state of %s has an invalid %s, ignored: %r", self._log_name, key, state[key])

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return state | {key: number for key in ("user_id", "group_id") if (number := getattr(self, key)) > 0}

    @property
    def host_homedir(self) -> str:
        """The home on the host. A failure where it is to be looked up and the user is not known."""
        if self.host_homedir_format_string:
            return self._homedir("host_homedir_format_string")
        account = self._account()
        if account is None:
            raise self._unknown("home")
        return account.home

    @property
    def homedir(self) -> str:
        """The home in the container."""
        return self._homedir("image_homedir_format_string")

    def _homedir(self, setting: str) -> str:
        return self._fill(setting, getattr(self, setting), {"username": self.user.name})

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
        """As before, and the home where another bind has its source already.

        A subclass whose volume_binds has no such source mounts the home itself.
        """
        mounts: list[Mount] = super().mount_binds
        if self.volume_binds.get(self.host_homedir, self._home_bind) != self._home_bind:
            propagation = self.homedir_bind_propagation or None
            mounts.append(Mount(self.homedir, self.host_homedir, type="bind", propagation=propagation))
        return mounts

    def _path_templates(self) -> dict[str, str]:
        return {self.host_homedir: self.host_homedir_format_string or "", **super()._path_templates()}

    def _named_folders(self) -> dict[str, bool]:
        named: dict[str, bool] = super()._named_folders()
        home, template = normal(self.homedir), self.host_homedir_format_string
        if not template:
            return {**named, home: True}
        # A fixed one is for all users.
        return named if named_for_user(template) else {target: own for target, own in named.items() if target != home}

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

    async def start(
        self,
        *,
        image: str | None = None,
        extra_create_kwargs: Mapping[str, Any] | None = None,
        extra_host_config: Mapping[str, Any] | None = None,
    ) -> tuple[str, int]:
        """Start like DockerSpawner.start(). The arguments are deprecated; they set the settings of the same names."""
        given: dict[str, Any] = {
            "image": image,
            "extra_create_kwargs": extra_create_kwargs,
            "extra_host_config": extra_host_config,
        }
        for name, value in given.items():
            if not value:
                continue
            self.log.warning("Specifying %s via .start() is deprecated, set the spawner's %s instead", name, name)
            if isinstance(value, Mapping):
                below = getattr(self, name)
                value = merging(below, value) if callable(below) else {**below, **value}
            setattr(self, name, value)
        return await super().start()


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
