"""Profiles: what a user may choose of a server, asked by a form and checked wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from jupyterhub.utils import maybe_future
from traitlets import Any as AnyTrait
from traitlets import TraitError, validate

from dockerspawner._core import Core
from dockerspawner._errors.failures import failure
from dockerspawner._profiles import form as profile_form
from dockerspawner._profiles import text_check
from dockerspawner._profiles.cache import ProfileCache
from dockerspawner._profiles.choice import (
    Choice,
    Chosen,
    NotAllowed,
    Option,
    Profile,
    choose,
    mismatch,
    names_of,
    open_to,
    pick,
    texts_of,
)
from dockerspawner._profiles.list import Mistakes, read
from dockerspawner._records.database import save_options, saved_options
from dockerspawner._settings.operator_code import operator_code

_READ = ProfileCache()


class Profiles(Core):
    """Which profile a server has, and the form that asks for it.

    A start's options are {"profile": slug}, and one for each option of the profile: the key of a choice, or
    under "<option>--unlisted-choice" a text of the user's own.
    """

    profile_list = AnyTrait(
        [],
        config=True,
        help="""Profiles that users choose from when they start a server: a list, or a mapping by slug. It may also be a
        callable(spawner) or coroutine function that returns one of these. Default: no profiles.

        Each profile has display_name. Optional keys are slug (default: made from the name), description, default
        (True for one profile), groups, docker_override, and profile_options. If groups names hub groups, only their
        members see the profile.

        profile_options is {option: {display_name, choices, default, unlisted_choice}}. choices is {choice:
        {display_name, default, docker_override}}. unlisted_choice lets the user type a text of at most 1,000
        characters. Its keys are enabled, display_name, display_name_in_choices, validation_regex,
        validation_message, and docker_override with {value} for the text. validation_regex must match the whole
        text within one second.

        docker_override is {setting: value}, for the server that is started. A mapping, such as environment or
        volumes, is merged into the configured mapping; None as a value removes an entry. Any other value replaces
        the configured one. A callable(spawner) returns the value. If a profile overrides a setting that all servers
        share, such as prefix, instance, client_kwargs or max_sleeping, the spawner rejects the list. The error
        message names the settings that a profile can override.

        The spawner rejects options that the chosen profile lacks. If the profile does not set the image, the option
        `image` chooses one of allowed_images.""",
    )

    # What the server that runs was started with.
    _chosen_options: Mapping[str, str] | None = None
    # The same of before the hub was restarted, until the settings are as they were then.
    _recalled: Mapping[str, str] | None = None
    # Options of the last start that had its profile.
    _accepted: Mapping[str, Any] = {}
    _profile_taken = False
    _own_image_option = False

    @validate("profile_list")
    def _validate_profile_list(self, proposal: Any) -> Any:
        if not callable(proposal.value):
            try:
                self._read(proposal.value)
            except Mistakes as mistakes:
                raise TraitError(str(mistakes)) from mistakes
        return proposal.value

    async def _all_profiles(self) -> tuple[Profile, ...]:
        """The profiles as they are now; a failure that names each mistake where there are some."""
        listed = self.profile_list
        if callable(listed):
            with operator_code("the setting profile_list", self.log):
                listed = await maybe_future(listed(self))
        try:
            return self._read(listed)
        except Mistakes as mistakes:
            self.log.error("profile_list can't be used:\n%s", mistakes)
            raise failure("The hub's profiles can't be used.", details=str(mistakes), reason="settings") from None

    def _read(self, listed: Any) -> tuple[Profile, ...]:
        return _READ.profiles(type(self), listed or [], lambda own: read(own, self._complaint))

    def _open(self, profiles: tuple[Profile, ...]) -> tuple[Profile, ...]:
        return open_to(profiles, {group.name for group in getattr(self.user, "groups", ())})

    # State

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._chosen_options = self._recalled = state.get("profile")
        self._accepted = self.user_options

    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        return state | {"profile": dict(self._chosen_options)} if self._chosen_options else state

    def clear_state(self) -> None:
        super().clear_state()
        self._chosen_options = self._recalled = None
        self._profile_taken = False

    @property
    def _profile_slug(self) -> str:
        return (self._chosen_options or {}).get("profile", "")

    async def _recall_profile(self) -> None:
        """Have the settings with which the server was started that runs since before the hub did.

        Called before the first use of settings that a profile may replace: for the address, and for the stop.
        """
        options, self._recalled = self._recalled, None
        if not options:
            return
        try:
            profiles = await self._all_profiles()
            await self._apply(choose(pick(profiles, options), options))
        except Exception as error:
            self._end_overrides()
            name = options["profile"]
            self.log.warning("%s goes on as it is configured, without its profile %s: %s", self._log_name, name, error)

    # A start

    async def _take_profile(self) -> None:
        """Have the settings of the profile that was chosen; once a start.

        A failure with status 400, which names it, where an option means nothing or is not this user's to choose.
        """
        if self._profile_taken:
            # Hooks may have set what defaults depend on.
            self._effective.follow_if_replaced()
            return
        self._end_overrides()
        self._recalled = None
        self._chosen_options, self._own_image_option = None, False
        profiles = await self._all_profiles()
        if profiles:
            chosen = await self._choose(self._open(profiles))
            await self._apply(chosen)
            self._chosen_options, self._accepted = chosen.options, self.user_options
            self._own_image_option = any(option.key == "image" for option in chosen.profile.options)
            self.log.info("%s has profile %s", self._log_name, chosen.profile.slug)
        elif self.profile_list:
            _note_options(self, self.user_options)
        self._profile_taken = True

    async def _choose(self, profiles: tuple[Profile, ...]) -> Chosen:
        if not profiles:
            raise failure("There is no profile for you on this hub.", reason="profile", status=403)
        try:
            profile = pick(profiles, self.user_options)
            for option, text in texts_of(profile, self.user_options):
                await self._check_text(profile, option, text)
            return choose(profile, self.user_options, self._other_options(profile))
        except NotAllowed as refusal:
            self._forget_refused()
            raise failure(str(refusal), reason="profile", status=400) from None

    async def _check_text(self, profile: Profile, option: Option, text: str) -> None:
        """Raise NotAllowed if the user's text does not match, or if the match takes too long."""
        regex = option.unlisted.regex if option.unlisted else ""
        where = f"validation_regex of option {option.key} in profile {profile.slug}"
        try:
            if regex and not await text_check.matches(regex, text, self.user.name):
                raise mismatch(option, text)
        except text_check.TooSlow:
            self.log.error(
                "%s took more than %g s for a text of %i characters. The spawner rejected the text. "
                "Avoid nested repetitions: %s",
                where,
                text_check.SECONDS,
                len(text),
                regex,
            )
            raise NotAllowed(
                f"The text of option {option.key} takes too long to check. Shorten it, or ask an administrator."
            ) from None
        except OSError:
            self.log.exception("%s could not be checked: the Python process failed", where)
            raise NotAllowed(
                f"The text of option {option.key} can't be checked now. Ask an administrator to read the hub's log."
            ) from None

    def _forget_refused(self) -> None:
        """Have on record what was accepted before: else the hub would give the next start, which may say nothing,
        the options that were refused."""
        save_options(self, self._accepted)

    def _other_options(self, profile: Profile) -> set[str]:
        """Names of the options that mean something outside of the profile."""
        others = {"fresh"}
        if self._get_allowed_images() and not profile.decides_image:
            others.add("image")
        # JupyterHub has it since 5.3.
        hook = getattr(self, "apply_user_options", _note_options)
        if isinstance(hook, Mapping):
            others |= hook.keys()
        elif hook is not _note_options:
            # A hook of the operator's own sees to whatever it wants.
            others |= self.user_options.keys()
        return others

    async def _apply(self, chosen: Chosen) -> None:
        for layer in chosen.layers:
            for name, value in layer.items():
                try:
                    await self._override(name, value)
                except TraitError as error:
                    self._end_overrides()
                    self._forget_refused()
                    message = f"Profile {chosen.profile.slug} can't be had: {error}"
                    raise failure(message, reason="profile", status=400 if chosen.typed else 500) from error

    async def _choose_image(self) -> None:
        if not self._own_image_option:
            await super()._choose_image()

    def _apply_user_options_default(self) -> Callable[[Any, Mapping[str, Any]], None]:
        return _note_options

    # The form

    def _options_form_default(self) -> Any:
        # Made when it is asked for: who sleeps, and what a callable gives, may be another then.
        return type(self)._profile_form

    async def _profile_form(self) -> str:
        """The form's HTML; empty where there is nothing to choose."""
        profiles = await self._all_profiles()
        if profiles:
            open_profiles = [self._with_images(profile) for profile in self._open(profiles)]
            form = profile_form.form(open_profiles, self._last_options()) if open_profiles else ""
        else:
            form = await maybe_future(self._default_options_form())
        return form + profile_form.fresh() if form and self._sleep.paused_at else form

    def _last_options(self) -> Mapping[str, Any]:
        """What was chosen the last time, also where it was refused; else what the hub has on record."""
        return self.user_options or saved_options(self)

    def _with_images(self, profile: Profile) -> Profile:
        """The profile with the choice of images that it leaves to allowed_images."""
        allowed = self._get_allowed_images()
        if profile.decides_image or allowed == "*" or len(allowed) < 2:
            return profile
        images = tuple(Choice(name, name) for name in allowed)
        default = next((name for name, image in allowed.items() if image == self.image), images[0].key)
        return replace(profile, options=(*profile.options, Option("image", "Image", images, default)))

    def options_from_query(self, query_data: Mapping[str, list[Any]]) -> dict[str, Any]:
        """The options in a URL; JupyterHub 5 leaves their prefix on."""
        if query_data.keys() == {"_xsrf"}:
            # The address of a form that was sent and refused, opened anew: not an order to start the default.
            raise failure("Please choose, then press Start.", reason="profile", status=400)
        options = {name.removeprefix("opt-"): values for name, values in query_data.items()}
        return self.options_from_form(options)  # type: ignore[no-any-return]

    def _options_from_form_default(self) -> Any:
        return self._read_form

    def _read_form(self, form: Mapping[str, list[Any]]) -> dict[str, Any]:
        options = profile_form.options_of(form)
        # Without profiles, pages of others link here with arguments that are not for us.
        if not self.profile_list:
            options = {k: v for k, v in options.items() if k in ("image", "fresh")}
        if wrong := [name for name, value in options.items() if not isinstance(value, str | bool)]:
            # An uploaded file.
            raise failure(f"These options are not text: {names_of(wrong)}.", reason="profile", status=400)
        return options


def _note_options(spawner: Any, options: Mapping[str, Any]) -> None:
    """The image is chosen after the pre_spawn_hook, which may see to the options itself; a profile before it."""
    if not spawner.profile_list and (others := options.keys() - {"image", "fresh"}):
        spawner.log.warning("The spawner does not use the options %s", names_of(others))
