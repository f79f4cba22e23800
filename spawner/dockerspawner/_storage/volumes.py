"""Volumes and binds of a user's server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from docker.types import Mount
from jupyterhub.traitlets import Callable as CallableTrait
from traitlets import Dict, List

from dockerspawner._core import Core
from dockerspawner._engine.client import described, perform
from dockerspawner._errors.failures import misconfigured
from dockerspawner._errors.translation import Conflict, EngineError, Refused, is_not_offered
from dockerspawner._records import ownership
from dockerspawner._records.database import (
    is_volume_of_other_user,
    names_of_others,
    records_of_user,
    volumes_of_former_namesakes,
)
from dockerspawner._records.instance import owners_of
from dockerspawner._records.ownership import Owner
from dockerspawner._records.volume_history import VolumeHistory, volume_of
from dockerspawner._settings import templates
from dockerspawner._settings.naming import VOLUME_NAME, case_suffix, fit, hash_suffix
from dockerspawner._settings.operator_code import operator_code
from dockerspawner._settings.templates import TemplateError
from dockerspawner._storage import volume_owners
from dockerspawner._storage.mounts import (
    Mounted,
    is_host_path,
    is_relative_path,
    normal,
    replaced,
    subpath_of,
    typed,
)
from dockerspawner.volumenamingstrategy import default_format_volume_name

Target = str | Mapping[str, Any]
Settings = Mapping[str, "Target | list[Target]"]


@dataclass(frozen=True)
class Bind:
    """A mount of `source` (a volume's name, or an absolute host path) at `target` in the container.

    `template` is the template of the source. `former` is the volume's name from when the case of server names was
    ignored, else empty.
    """

    source: str
    target: str
    mode: str
    propagation: str = ""
    template: str = ""
    former: str = ""

    @property
    def is_volume(self) -> bool:
        return not is_host_path(self.source)

    def as_bind(self) -> dict[str, str]:
        spelled = {"bind": self.target, "mode": self.mode}
        return {**spelled, "propagation": self.propagation} if self.propagation else spelled

    def as_mount(self) -> Mount:
        return Mount(
            target=self.target,
            source=self.source,
            type="volume" if self.is_volume else "bind",
            read_only="ro" in self.mode.split(","),
            propagation=self.propagation or None,
        )


def binds(
    settings: Settings, mode: str, render: Callable[[str], str], groups: Collection[str] = frozenset(), server: str = ""
) -> list[Bind]:
    """Convert each entry of a `volumes` setting to a Bind; `mode` is the default of entries.

    An entry for groups applies if the user is in one of `groups`. If several entries have the same source and target,
    the first one counts.

    A rendered volume name of up to 255 characters, the engine's limit, does not change, so that existing volumes are
    found. A longer or invalid name is truncated and gets a hash of the whole name.

    ValueError with a message about the entry if an entry is invalid.
    """
    found: dict[tuple[str, str], Bind] = {}
    for source, value in settings.items():
        name = _rendered(source, source, render)
        if is_relative_path(name):
            raise ValueError(f"{source!r}: the source must be an absolute path of the host, or the name of a volume")
        for given in value if isinstance(value, list) else [value]:
            entry = _entry(source, given)
            if "groups" in entry and not set(entry["groups"]).intersection(groups):
                continue
            volume, former = (name, "") if is_host_path(name) else volume_name(name, source, server)
            bind = Bind(
                source=volume,
                target=_rendered(source, entry["bind"], render),
                mode=entry.get("mode") or mode,
                propagation=entry.get("propagation") or "",
                template=source,
                former=former,
            )
            found.setdefault((bind.source, bind.target), bind)
    return list(found.values())


def volume_name(rendered: str, template: str, server: str) -> tuple[str, str]:
    """Return the name of a server's volume, and its former name from when case was ignored, else empty."""
    suffix = case_suffix(template, server)
    return fit(rendered + suffix, VOLUME_NAME), fit(rendered, VOLUME_NAME) if suffix else ""


def _entry(source: str, given: Any) -> Mapping[str, Any]:
    entry = {"bind": given} if isinstance(given, str) else given
    if not isinstance(entry, Mapping):
        raise ValueError(f'{source!r} with {given!r}: the value must be a path, a dict with "bind", or a list of these')
    if "bind" not in entry:
        raise ValueError(f'{source!r} with {given!r}: "bind", the path in the container, is missing')
    for key in ("bind", "mode", "propagation"):
        if not isinstance(entry.get(key) or "", str) or (key == "bind" and not entry[key]):
            raise ValueError(f'{source!r} with {given!r}: "{key}" is not a string')
    return entry


def _rendered(source: Any, template: Any, render: Callable[[str], str]) -> str:
    try:
        return render(template)
    except KeyError as error:
        # Raised by str.format in an operator's format_volume_name.
        raise ValueError(f"{source!r}: format_volume_name does not fill {error} in {template!r}") from error
    except TemplateError as error:
        raise ValueError(f"{source!r}: {template!r} can't be filled: {error}") from None


def _is_of_server(volume: Mapping[str, Any] | None, servers: Collection[str]) -> bool:
    """Does an inspected volume belong to one of these servers of the user, by its labels?"""
    return ((volume or {}).get("Labels") or {}).get(ownership.SERVER) in servers


def _recorded(mount: Mapping[str, Any]) -> str:
    """Return what the state keeps of a mount: a volume, or a part of it; empty for an anonymous volume."""
    volume, subpath = str(mount["Source"] or ""), subpath_of(mount)
    return f"{volume}/{subpath}" if volume and subpath else volume


class Volumes(Core):
    """What is mounted into a user's server."""

    volumes = Dict(
        config=True,
        help="""Volumes and host paths to mount: {source: path in the container}, or
        {source: {"bind": path, "mode": "rw", "propagation": "rshared"}}. The value can also be a list of these, to
        mount one source at several paths. With "groups": ["staff"], only members of one of these hub groups get the
        mount. If several entries mount one source at one path, the first entry that applies to the user counts. A
        source that is not an absolute path is the name of a volume. The spawner creates missing volumes, and
        missing host folders of one user, which it gives to the server's uid. Placeholders as in name_template.""",
    )

    read_only_volumes = Dict(config=True, help="As `volumes`, mounted read-only.")

    mounts = List(
        Dict(),
        config=True,
        help="""Additional mounts. Each is a dict of arguments of docker.types.Mount: target, source, type (volume,
        bind, tmpfs), read_only, propagation, no_copy, labels, driver_config, subpath, tmpfs_size, tmpfs_mode, ...
        Without a type, an absolute path is a bind and a name is a volume. Every string can contain placeholders.""",
    )

    format_volume_name = CallableTrait(
        default_format_volume_name,
        config=True,
        help="callable(template, spawner) that fills a template of `volumes`, `read_only_volumes` and `mounts`.",
    )

    # Volumes of earlier starts, kept in the state.
    _history = VolumeHistory()
    # Names that templates give now, and the names under which the user's volumes, and parts of volumes, are.
    _older_names: dict[str, str] = {}
    # Volumes on record of all servers of the user, and the user's former names.
    _known_names: frozenset[str] = frozenset()
    _known_users: Collection[str] = ()
    # Of the current start: targets at which the configured mount is replaced or dropped.
    _replaced_targets: frozenset[str] = frozenset()

    def _render_volume(self, template: str) -> str:
        with operator_code("the setting format_volume_name", self.log):
            return self.format_volume_name(template, self)  # type: ignore[no-any-return]

    def _binds(self) -> list[Bind]:
        groups = {group.name for group in getattr(self.user, "groups", ())}
        found = []
        for setting, mode in (("volumes", "rw"), ("read_only_volumes", "ro")):
            try:
                found += binds(getattr(self, setting), mode, self._render_volume, groups, self.name)
            except ValueError as error:
                raise misconfigured(f"The setting {setting} has an invalid entry {error}.") from None
        return [replace(bind, source=self._older_names.get(bind.source, bind.source)) for bind in found]

    def _named_volumes(self) -> list[Bind]:
        """List the named volumes of `volumes`, `read_only_volumes` and `mounts`, with their actual names."""
        found = [bind for bind in self._binds() if bind.is_volume]
        for settings in self.mounts:
            mount = self._mount(settings)
            if mount["Type"] == "volume" and mount["Source"]:
                template = settings["source"]
                mode = "ro" if mount["ReadOnly"] else "rw"
                former = self._rendered_source(template)[1]
                found.append(Bind(mount["Source"], mount["Target"], mode, template=template, former=former))
        return found

    async def _find_volumes(self) -> None:
        """Keep using an existing volume of the user that had another name at an earlier start.

        This excludes a volume of another profile at the same target: it is a different volume.
        """
        self._older_names = {}
        records = records_of_user(self)
        self._known_names = self._history.names.union(*(record.volumes for record in records))
        owners = {owner.user for record in records for owner in owners_of(record.state)}
        self._known_users = (self._former_users | owners) - {self.user.name}
        alike = {name for name in names_of_others(self) if name.lower() == self.name.lower()} if self.name else set()
        # A volume that this user has used, too, stays in use.
        taken = volumes_of_former_namesakes(self) - self._history.names
        older = self._older_subpaths(alike, taken)
        for bind in self._named_volumes():
            found, own_name = await self._older_volume(bind, alike), self._name_of_its_own(bind.source)
            named = await self._volume(bind.source) if found or alike else None
            is_taken = bind.source in taken and ownership.USER in self._labels_of(bind.template)
            if _is_of_server(named, alike) or is_taken or found == own_name:
                older[bind.source] = found or own_name
                self.log.warning("Volume %s is another server's: %s is used", bind.source, older[bind.source])
            elif found and named is None:
                older[bind.source] = found
                self.log.warning("Volume %s is used, since there is no %s as settings name it", found, bind.source)
        self._older_names = older

    def _name_of_its_own(self, name: str) -> str:
        """Return an alternative volume name, if the configured name belongs to another server or another user."""
        return fit(name + self._own_suffix, VOLUME_NAME)

    @property
    def _own_suffix(self) -> str:
        return hash_suffix(f"{getattr(self.user, 'id', self.user.name)}/{self.name}")

    async def _older_volume(self, bind: Bind, alike: Collection[str]) -> str:
        """Find this server's volume with a former name; empty if there is none.

        `alike` are the user's other servers whose names differ only in case.
        """
        own_name, used = self._name_of_its_own(bind.source), self._used_at(bind)
        candidates = [own_name if own_name in self._history.volumes else "", used, self._under_former_name(bind.source)]
        for name in dict.fromkeys(candidates):
            if name and name != bind.source and self._may_be_renamed(bind.template, name):
                volume = await self._volume(name)
                if self._is_of_this_user(volume, name) and not _is_of_server(volume, alike):
                    return name
        if bind.former and bind.former != used:
            volume = await self._volume(bind.former)
            labels = (volume or {}).get("Labels") or {}
            # A volume without labels belongs to the server with the same name, if that exists.
            if volume is not None and labels.get(ownership.SERVER, "" if alike else self.name) == self.name:
                return bind.former
        return ""

    def _used_at(self, bind: Bind) -> str:
        """Return the volume that the last start with this profile had at a bind's target."""
        return volume_of(self._history.at(bind.target, self._profile_slug)) or bind.source

    def _under_former_name(self, name: str) -> str:
        """Find the name on record that differs from `name` only by a former user name; empty if there is none."""
        for former in sorted(self._known_users):
            for old, new in volume_owners.counterparts(self, former):
                for known in sorted(self._known_names):
                    if known != name and volume_owners.replaced_name(known, old, new) == name:
                        return known
        return ""

    def _may_be_renamed(self, template: str, used: str) -> bool:
        """Can the volume of an earlier start be the user's own volume under a former name?

        A hook may compute any name. Its former name counts only if it is from before a rename of the user.
        """
        if volume_owners.named_for_user(template):
            return True
        formers = {spelled for name in self._known_users for spelled in volume_owners.spellings(self, name)}
        return volume_owners.contains_name(used, formers) and ownership.USER in self._labels_of(template)

    def _older_subpaths(self, alike: Collection[str], taken: Collection[str]) -> dict[str, str]:
        """Map configured parts of volumes, as `volume/subpath`, to the parts that this server uses instead."""
        found = {}
        for settings in self.mounts:
            mount = self._mount(settings)
            if not subpath_of(mount):
                continue
            template, volume = settings["subpath"], mount["Source"]
            name = f"{volume}/{subpath_of(mount)}"
            plain = f"{volume}/{templates.render_strictly(template, self.template_namespace())}"
            used, own_name = self._history.at(mount["Target"], self._profile_slug), name + self._own_suffix
            if plain != name and (used == plain or (used == volume and not alike)):
                # From when the case of server names was ignored.
                found[name] = plain
            elif not volume_owners.named_for_user(template):
                continue
            elif own_name in self._history.names:
                found[name] = own_name
            elif former := self._under_former_name(name):
                found[name] = former
            elif name in taken:
                found[name] = own_name
            if name in found:
                self.log.warning("Folder %s is used instead of %s, as settings name it", found[name], name)
        return found

    def _note_replaced_mounts(self, configured: Mounted, final: Mounted) -> None:
        """Log configured mounts that are replaced or dropped; the spawner creates no volume for them."""
        found = replaced(configured, final)
        targets = frozenset(one.target for one in found)
        for one in found:
            if one.target not in self._replaced_targets:
                self.log.warning("%s: %s", self.object_name, one)
        self._replaced_targets = targets

    def _learn_volumes(self, container: Mapping[str, Any]) -> None:
        """If a server has no volumes on record, record those of its kept container."""
        if not self._history.last:
            mounts = [mount for mount in container.get("Mounts") or () if mount.get("Type") == "volume"]
            used = {mount["Destination"]: mount["Name"] for mount in mounts if ownership.outlives(mount)}
            self._history = replace(self._history, last=used)

    async def _volume(self, name: str) -> Mapping[str, Any] | None:
        try:
            return await described(self.docker, "inspect_volume", name)
        except Refused as error:
            # A proxy rejects the call. Then, as in dockerspawner 14, no volume with a former name is searched for.
            self.log.debug("Volume %s can't be inspected: %s", name, error)
            return None

    def _is_of_this_user(self, volume: Mapping[str, Any] | None, name: str) -> bool:
        """Does a volume on record exist, and belong to this user by its labels, or without labels by its name?"""
        if volume is None:
            return False
        labels = volume.get("Labels") or {}
        users = {self.user.name, *self._known_users}
        if ownership.INSTANCE in labels:
            if labels[ownership.INSTANCE] not in self._instances or ownership.USER not in labels:
                return False
            if not self._knows_owners and labels[ownership.USER] not in users:
                # The user was renamed before states kept former names: the label has one.
                self._record_owner(Owner.of(labels))
                self._record_owner(self._owner)
                return True
            return labels[ownership.USER] in users
        return volume_owners.contains_name(name, {way for user in users for way in volume_owners.spellings(self, user)})

    async def _have_volumes(self, driver: str | None) -> None:
        """Make the volumes that are missing, so that they carry labels; one that is there stays as it is."""
        found = [bind for bind in self._binds() if bind.is_volume and normal(bind.target) not in self._replaced_targets]
        for volume in {bind.source: bind for bind in reversed(found)}.values():
            await self._have_volume(volume, driver, self._labels_of(volume.template))
        for mounted in self.mount_binds:
            options = mounted.get("VolumeOptions") or {}
            # One of a driver of its own the engine makes.
            if (
                mounted["Type"] == "volume"
                and mounted["Source"]
                and "DriverConfig" not in options
                and "Labels" in options
                and normal(mounted["Target"]) not in self._replaced_targets
            ):
                bind = Bind(mounted["Source"], mounted["Target"], "ro" if mounted["ReadOnly"] else "rw")
                await self._have_volume(bind, None, options["Labels"])
        self._note_volumes()

    def _note_volumes(self) -> None:
        """Record the volumes that this start uses, for the state."""
        self._history = self._history.after(self._volumes_in_use(), self._profile_slug)

    def _load_history(self, state: Mapping[str, Any]) -> None:
        self._history = VolumeHistory.of(state)

    def _use_former_names(self, older: dict[str, str]) -> None:
        """Use volumes with former names in place of those that settings name."""
        self._older_names = older

    def _volumes_in_use(self) -> dict[str, str]:
        """Map targets to names of volumes, or of parts of them, for the state."""
        binds = [(bind.target, bind.source) for bind in self._binds() if bind.is_volume]
        mounts = [(mount["Target"], _recorded(mount)) for mount in self.mount_binds if mount["Type"] == "volume"]
        return {
            target: source
            for target, source in [*mounts, *binds]
            if source and normal(target) not in self._replaced_targets
        }

    async def _have_volume(self, bind: Bind, driver: str | None, labels: Mapping[str, str]) -> None:
        if ownership.USER in labels and is_volume_of_other_user(self, bind.source):
            # Users share it, although its name contains this user's name.
            labels = {key: value for key, value in labels.items() if key != ownership.USER}
        marked = {**labels, ownership.START: self._start_mark}
        try:
            made = await perform(self.docker, "create_volume", bind.source, driver=driver, labels=marked)
        except Conflict:
            # There is one, of another driver.
            self.log.debug("Volume %s is there already", bind.source)
            return
        except EngineError as error:
            # The engine itself answers 404 if it lacks the driver.
            if not is_not_offered(error) or "plugin" in str(error):
                raise
            if "create_volume" not in self.engine.reported:
                self.engine.reported.add("create_volume")
                self.log.warning(
                    "Docker rejects requests to create volumes (%s). It creates missing ones with their containers, "
                    "without labels: delete_policy and volume_owner don't apply to them.",
                    error,
                )
            return
        if driver in (None, "local"):
            self._note_volume(bind, made, labels)

    def _labels_of(self, template: str) -> dict[str, str]:
        """Return a volume's ownership labels: for this hub, and for user and server if its name is theirs."""
        return volume_owners.labels(self, template)

    @property
    def volume_binds(self) -> dict[str, dict[str, str]]:
        """The first use of each source, keyed by source; the others are in mount_binds."""
        first: dict[str, dict[str, str]] = {}
        for bind in self._binds():
            first.setdefault(bind.source, bind.as_bind())
        return first

    @property
    def mount_binds(self) -> list[Mount]:
        """`mounts`, and what a dict keyed by source can't hold: second and further uses of a source."""
        seen: set[str] = set()
        found = []
        for bind in self._binds():
            if bind.source in seen:
                found.append(bind.as_mount())
            seen.add(bind.source)
        return [*found, *map(self._mount, self.mounts)]

    def _mount(self, settings: Mapping[str, Any]) -> Mount:
        """Convert one entry of `mounts`; fail if it is invalid."""
        names = {key: settings[key] for key in ("source", "target") if settings.get(key)}
        labels = settings.get("labels")
        special = ("source", "target", "labels", "subpath")
        others = {key: value for key, value in settings.items() if key not in special}
        namespace = self.template_namespace()
        try:
            known = {
                **templates.render_strictly(others, namespace),
                **{key: _rendered(key, template, self._render_volume) for key, template in names.items()},
            }
            if "source" in known and not is_host_path(known["source"]):
                volume, _ = self._rendered_source(names["source"])
                known["source"] = self._older_names.get(volume, volume)
                if settings.get("subpath"):
                    name = f"{volume}/{self._subpath(settings['subpath'])}"
                    known["subpath"] = self._older_names.get(name, name).partition("/")[2]
            elif settings.get("subpath"):
                known["subpath"] = self._subpath(settings["subpath"])
            if labels:
                known["labels"] = templates.render(labels, namespace)
            return typed(known, self._labels_of(names.get("source", "")))
        except ValueError as error:
            raise misconfigured(f"The setting mounts has an invalid entry {settings!r}: {error}.") from None

    def _subpath(self, template: str) -> str:
        """Fill a subpath. ValueError if the result is empty or has another number of parts."""
        namespace = self.template_namespace()
        # As in names of volumes: servers whose names differ only in case have separate parts.
        namespace["servername"] += case_suffix(str(template), self.name)
        found = templates.render_strictly(template, namespace)
        if not found:
            raise ValueError(f"the subpath {template!r} is empty for this server: add {{username}}")
        parts = str(template).count("/") + 1
        if str(found).count("/") + 1 != parts:
            raise ValueError(f"the filled subpath {found!r} adds or removes folders: use {{username}}")
        return str(found)

    def _rendered_source(self, template: str) -> tuple[str, str]:
        """Return the name of a volume of `mounts`, and its former name."""
        return volume_name(_rendered(template, template, self._render_volume), template, self.name)

    @property
    def volume_mount_points(self) -> list[str]:
        return sorted(bind["bind"] for bind in self.volume_binds.values())
