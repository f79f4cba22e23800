"""Settings that a start replaces for its server alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any

from jupyterhub.utils import maybe_future
from traitlets import All, TraitError, TraitType, observe

from dockerspawner._core import Core
from dockerspawner._errors.failures import misconfigured
from dockerspawner._profiles.choice import copied, merged
from dockerspawner._profiles.list import suggestion
from dockerspawner._settings.deprecations import IGNORED, RENAMED
from dockerspawner._settings.effective import IDENTITY, EffectiveSettings, check
from dockerspawner._settings.operator_code import operator_code

# Settings that all servers of one hub have in common, and why. A setting that a subclass adds can differ.
OF_ALL_SERVERS: Mapping[str, str] = {
    **dict.fromkeys(IDENTITY, "it identifies the owner of containers and volumes"),
    **dict.fromkeys(
        (
            "client_kwargs",
            "tls_config",
            "quick_threads",
            "slow_threads",
            "quick_timeout",
            "slow_timeout",
            "starts_at_once",
        ),
        "all servers share the connections to the engine",
    ),
    **dict.fromkeys(("max_sleeping", "pause_max_age"), "it is a limit for all paused servers of the hub"),
    **dict.fromkeys(
        ("user_subnet_pool", "attached_containers", "gpu_pool", "consecutive_failure_limit"),
        "all servers of the hub share it",
    ),
    "delete_policy": "it applies to servers that are stopped, which have no profile",
    **dict.fromkeys(
        ("fence_after", "fence_contacts"), "it also protects files from the user's next server, of any profile"
    ),
}

# Settings that a profile can't override, and why.
SHARED: Mapping[str, str] = {
    **OF_ALL_SERVERS,
    **dict.fromkeys(
        (
            "apply_user_options",
            "auth_state_gid_key",
            "auth_state_groups_key",
            "auth_state_hook",
            "auth_state_uid_key",
            "group_overrides",
            "oauth_client_allowed_scopes",
            "oauth_roles",
            "options_form",
            "options_from_form",
            "passwd_file",
            "poll_interval",
            "poll_jitter",
            "profile_list",
            "server_token_scopes",
        ),
        "the hub reads it before a profile is applied",
    ),
    **dict.fromkeys(IGNORED, "it is deprecated and has no effect"),
}


def merging(below: Callable[[Any], Any], above: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A callable setting that gives what `below` gives, or awaits, with a mapping merged into it."""

    def over(found: Any) -> dict[str, Any]:
        return merged(found if isinstance(found, Mapping) else {}, above)

    async def awaited(found: Any) -> dict[str, Any]:
        return over(await found)

    def setting(spawner: Any) -> Any:
        found = below(spawner)
        return awaited(found) if isawaitable(found) else over(found)

    return setting


class Overrides(Core):
    """Until clear_state(), some settings are other than they are configured.

    - A mapping is merged into a configured mapping, or into what a configured callable gives; in it, None takes
      an entry away.
    - A callable(spawner), or coroutine function, gives the value, unless the setting takes a callable itself.
    - A text becomes what the setting takes, as on a command line: "2" a number.
    - Afterwards each setting is what it was, and what follows from others follows from them again.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Before the configuration is loaded, which sets and reads settings.
        self._effective = EffectiveSettings(self)
        super().__init__(**kwargs)

    @observe(All, type="default")
    def _note_default(self, change: Any) -> None:
        if getattr(type(self), change.name).metadata.get("config"):
            self._effective.note_default(change.name)

    @observe(All)
    def _note_setting(self, change: Any) -> None:
        self._effective.note_change(change.name)

    def clear_state(self) -> None:
        super().clear_state()
        self._end_overrides()

    def _end_overrides(self) -> None:
        name = self.object_name if self.object_id else ""
        self._effective.restore()
        if name:
            # A container that is kept keeps the name that the override gave it.
            self.object_name = name

    async def _override(self, name: str, value: Any) -> None:
        """Set one setting; TraitError where it can't have that value."""
        if callable(value) and not self._takes(name, value):
            with operator_code(f"the profile's {name}", self.log):
                value = await maybe_future(value(self))
        # The profile list is shared by many servers, which must not change it.
        value = copied(value)
        if isinstance(value, Mapping):
            below = getattr(self, name)
            if callable(below):
                value = merging(below, value)
            else:
                value = merged(below if isinstance(below, Mapping) else {}, value)
        self._effective.set(name, self._fitting(name, value))

    async def apply_group_overrides(self) -> None:
        """Apply JupyterHub's `group_overrides`; a failure where an entry for this user sets what all servers share."""
        configured: Any = self.group_overrides
        found = await self._evaluated("group_overrides") if configured else {}
        if not found:
            return
        with operator_code("the setting group_overrides", self.log):
            self._check_group_overrides(found)
            # A callable is called once.
            self.set_trait("group_overrides", lambda _: found)
            try:
                await super().apply_group_overrides()
            finally:
                self.set_trait("group_overrides", configured)

    def _check_group_overrides(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        of_user = {group.name for group in self.user.groups}
        for key, entry in sorted(entries.items()):
            groups = ", ".join(sorted(of_user.intersection(entry["groups"])))
            for name in entry["spawner_override"] if groups else ():
                reason = OF_ALL_SERVERS.get(RENAMED[name][0] if name in RENAMED else name)
                if reason:
                    self.log.error(
                        "Entry %r of the setting group_overrides sets %s for group %s: no server of that group starts. "
                        "%s is the same for all servers: %s. Remove it from the entry.",
                        key,
                        name,
                        groups,
                        name,
                        reason,
                    )
                    raise misconfigured(f"The setting group_overrides can't set {name} for group {groups}: {reason}.")

    def _fitting(self, name: str, value: Any) -> Any:
        """Return `value`, or what its text means; TraitError if the setting rejects both."""
        try:
            check(type(self), name, value)
        except TraitError as error:
            if not isinstance(value, str):
                raise
            try:
                value = getattr(type(self), name).from_string(value)
                check(type(self), name, value)
            except (TraitError, ValueError):
                raise error from None
        return value

    def _takes(self, name: str, value: Any) -> bool:
        try:
            self._fitting(name, value)
        except TraitError:
            return False
        return True

    def _complaint(self, name: str, value: Any) -> str:
        """What is wrong with overriding a setting, by a value that is known unless it is None."""
        if name in RENAMED:
            return f"is called {RENAMED[name][0]} now"
        # traits() would list all traits for each setting of each profile.
        trait = getattr(type(self), name, None) if isinstance(name, str) else None
        if not (isinstance(trait, TraitType) and trait.metadata.get("config")):
            return f"is not a setting of {type(self).__name__}{suggestion(name, self._overridable())}"
        if name in SHARED:
            can = ", ".join(self._overridable())
            return f"can't be overridden by a profile: {SHARED[name]}. Profiles can override: {can}"
        if value is None or callable(value):
            return ""
        try:
            self._fitting(name, merged({}, value) if isinstance(value, Mapping) else value)
        except TraitError as error:
            return str(error)
        return ""

    def _overridable(self) -> list[str]:
        """List the settings that a profile can override."""
        return sorted(set(self.traits(config=True)) - SHARED.keys() - RENAMED.keys())
