"""Images: reading a reference, and having the image here before a container is made of it."""

from __future__ import annotations

import asyncio
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import jupyterhub
from jupyterhub.traitlets import Callable as CallableTrait
from jupyterhub.utils import maybe_future
from tornado.web import HTTPError
from traitlets import Any as AnyTrait
from traitlets import CaselessStrEnum, Float, TraitError, Unicode, validate

from dockerspawner._core import Core
from dockerspawner._engine import metrics
from dockerspawner._engine.client import Client, Engine, perform
from dockerspawner._errors.failures import explain, failure
from dockerspawner._errors.masking import sentence
from dockerspawner._errors.translation import (
    EngineError,
    Failed,
    Gone,
    NoSuchImage,
    Refused,
    Unavailable,
    meaning,
    understood,
)
from dockerspawner._profiles.choice import LONGEST_TEXT, quoted
from dockerspawner._settings.deprecations import is_replaced
from dockerspawner._settings.operator_code import TIMEOUTS, operator_code

MEGABYTE = 1_000_000

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<repository>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Reference:
    """An image reference in its parts; `tag` and `digest` are empty where it names none."""

    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as Docker does, with a registry port, a tag, a digest or all of them.

        ValueError where it is none.
        """
        match = _REFERENCE.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is not an image reference")
        return cls(match["repository"], match["tag"] or "", match["digest"] or "")

    @property
    def version(self) -> str:
        """What to pull of the repository: where there is a digest, Docker disregards the tag."""
        return self.digest or self.tag or "latest"


class Pull:
    """A pull under way, shared by everyone who waits for its image.

    `downloaded`, `unpacked` and `total` are bytes of the layers whose download has begun.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.downloaded = self.unpacked = self.total = 0
        self._abandoned = False

    @property
    def percent(self) -> int:
        """Unpacking counts as much as downloading."""
        return 50 * (self.downloaded + self.unpacked) // self.total if self.total else 0

    def __str__(self) -> str:
        image = f"{self.reference.repository}{'@' if self.reference.digest else ':'}{self.reference.version}"
        if not self.total:
            return f"Pulling image {image}"
        verb, done = ("Pulling", self.downloaded) if self.downloaded < self.total else ("Unpacking", self.unpacked)
        return f"{verb} image {image}: {done // MEGABYTE} of {self.total // MEGABYTE} MB"

    async def run(self, engine: Engine, timeout: float) -> None:
        """Pull; EngineError where that fails or takes more than `timeout` seconds."""
        try:
            with metrics.phase("pull"):
                await asyncio.wait_for(asyncio.wrap_future(engine.pulling.submit(self._read)), timeout)
        except asyncio.TimeoutError:
            raise Unavailable(f"not pulled within {timeout:g} s", timed_out=True) from None
        except Exception as error:
            raise meaning("pull", error) from error
        finally:
            self._abandoned = True

    def _read(self, client: Client) -> None:
        # Bytes of each layer: downloaded, unpacked, all.
        layers: dict[str, list[int]] = {}
        repository, version = self.reference.repository, self.reference.version
        for event in client.pull(repository, tag=version, stream=True, decode=True):
            if self._abandoned:
                return
            if "error" in event:
                raise Failed(event["error"])
            status, detail = event.get("status"), event.get("progressDetail") or {}
            if status in ("Downloading", "Extracting") and detail.get("total"):
                # The engine leaves events out where it is quick: the first of a layer may be of its unpacking.
                layers.setdefault(event["id"], [0, 0, detail["total"]])
            if (layer := layers.get(event.get("id", ""))) is None:
                continue
            if status == "Downloading":
                layer[0] = detail.get("current", 0)
            elif status in ("Download complete", "Extracting"):
                layer[0], layer[1] = layer[2], min(detail.get("current", 0), layer[2])
            elif status == "Pull complete":
                layer[0] = layer[1] = layer[2]
            self.downloaded, self.unpacked, self.total = (
                sum(numbers) for numbers in zip(*layers.values(), strict=True)
            )


def pull_once(engine: Engine, reference: Reference, timeout: float) -> tuple[Pull, asyncio.Task[None]]:
    """The pull of `reference` that is under way, or a new one. Cancel only the waiting, never the task."""
    key = str(reference)
    if key in engine.pulls:
        pull, task = engine.pulls[key]
        if not task.done() and task.get_loop() is asyncio.get_running_loop():
            return pull, task
    pull = Pull(reference)
    task = asyncio.create_task(pull.run(engine, timeout))
    engine.pulls[key] = pull, task

    def forget(done: asyncio.Task[None]) -> None:
        engine.pulls.pop(key, None)
        # Where every waiter was cancelled nobody else looks at the outcome.
        if not done.cancelled():
            done.exception()

    task.add_done_callback(forget)
    return pull, task


class Images(Core):
    """Which image a server is made of, may its user have it, and when it is pulled."""

    image = Unicode(config=True, help="Image to run. Default: Jupyter's single-user image of the hub's version.")

    allowed_images = AnyTrait(
        {},
        config=True,
        help="""Images that users may choose, by the option `image`: a list; a dict, whose keys are shown and
        whose values are the images; a callable(spawner) that gives one of these; or "*" for any image.
        Empty: there is no choice. With more than one, users are asked by a form.""",
    )

    pull_policy = CaselessStrEnum(
        ["always", "ifnotpresent", "never", "skip"],
        default_value="ifnotpresent",
        config=True,
        help="""always: pull before each start. ifnotpresent: pull where the image is missing. never: fail
        where the image is missing. skip: don't look.""",
    )

    pull_timeout = Float(
        1800,
        config=True,
        help="Seconds that a pull may take. It runs before start_timeout begins to count.",
    )

    start_check = CallableTrait(
        None,
        allow_none=True,
        config=True,
        help="""callable(spawner) or coroutine function, called before each start, and before the image is pulled. If it
        raises, the start fails. The user sees the exception's `jupyterhub_message`, if it has one.""",
    )

    # The image that was made available for the start that comes next.
    _image_at_hand = ""

    def _image_default(self) -> str:
        major, minor, *_ = jupyterhub.version_info
        return f"quay.io/jupyterhub/singleuser:{major}.{minor}"

    # Choice

    @validate("image")
    def _validate_image(self, proposal: Any) -> str:
        # A value read from a file may end with a newline.
        return str(proposal["value"]).strip()

    @validate("allowed_images")
    def _validate_allowed_images(self, proposal: Any) -> Any:
        return _images_by_choice(proposal["value"])

    def _get_allowed_images(self) -> Any:
        """The images by what users choose them by; "*" where all are allowed."""
        allowed = self.allowed_images
        if not callable(allowed):
            return allowed
        with operator_code("the setting allowed_images", self.log):
            return _images_by_choice(allowed(self))

    async def check_allowed(self, image: str) -> str:
        """The image that the choice `image` stands for; HTTP error 400 where it is not allowed."""
        allowed = self._get_allowed_images()
        if allowed == "*":
            return image
        if not allowed:
            raise HTTPError(400, "There is no image to choose here")
        if image not in allowed:
            raise HTTPError(400, "Image %s is not allowed. Allowed images: %s", quoted(image), ", ".join(allowed))
        return str(allowed[image])

    async def _choose_image(self) -> None:
        choice = self.user_options.get("image")
        if not choice:
            return
        if not isinstance(choice, str):
            raise HTTPError(400, "The option image is not a text: %s", reprlib.repr(choice))
        if len(choice) > LONGEST_TEXT:
            raise HTTPError(400, "The option image has %i characters; the limit is %i", len(choice), LONGEST_TEXT)
        image = await maybe_future(self.check_allowed(choice.strip()))
        self._effective.set("image", image)

    def _default_options_form(self) -> str:
        allowed = self._get_allowed_images()
        if allowed == "*" or len(allowed) < 2:
            return ""
        options = "".join(
            f'<option value="{escape(choice)}"{" selected" if image == self.image else ""}>{escape(choice)}</option>'
            for choice, image in allowed.items()
        )
        return (
            '<label for="image" class="form-label">Image</label>'
            f'<select class="form-control form-select" id="image" name="image" required autofocus>{options}</select>'
        )

    # Pulling

    async def run_pre_spawn_hook(self) -> None:
        """Apply the profile, run the pre_spawn_hook, then pull the image.

        The hub's start_timeout begins after this. If a subclass overrides `start` or this method, it may choose another
        image later: then start() pulls.
        """
        try:
            await self._take_profile()
            if self.start_check:
                with operator_code("the setting start_check", self.log):
                    await maybe_future(self.start_check(self))
            # Other exceptions may have a message for the user.
            with operator_code("the setting pre_spawn_hook", self.log, only=(OSError, *TIMEOUTS)):
                await maybe_future(super().run_pre_spawn_hook())
            try:
                if is_replaced(self, "start") or is_replaced(self, "run_pre_spawn_hook"):
                    await self._choose_image()
                else:
                    await self._have_image()
            except EngineError as error:
                raise explain(error) from error
        except BaseException as error:
            metrics.failed(error)
            self._story.end(getattr(error, "jupyterhub_message", ""))
            raise

    async def _have_image(self) -> None:
        await self._choose_image()
        if not self.image or self._image_at_hand != self.image:
            await self._pull()
            self._image_at_hand = self.image

    async def _pull(self) -> None:
        try:
            await understood("pull", self.pull_image(self.image))
        except Unavailable:
            raise
        except EngineError as error:
            text = sentence(error)
            # An error inside the pull stream has no HTTP response. The image is missing in this case, too.
            cause = NoSuchImage(text) if error.response is None else error
            raise failure(text, reason="image", cause=cause) from error

    async def pull_image(self, image: str) -> None:
        """Make `image` available as pull_policy says.

        EngineErrors, which are the Docker SDK's too, with a sentence that names the image; Unavailable where
        the engine can't be asked.
        """
        try:
            reference = Reference.parse(image)
        except ValueError as error:
            raise Refused(f"The server's image can't be used: {error}.") from None
        if self.pull_policy == "skip":
            return
        if self.pull_policy != "always":
            self._report_progress(5, f"Looking for image {image}")
            try:
                await perform(self.docker, "inspect_image", image)
                return
            except Gone as gone:
                if self.pull_policy == "never":
                    raise self._image_missing(image, gone) from None
        self.log.info("Pulling image %s", image)
        pull, task = pull_once(self.engine, reference, self.pull_timeout)
        while not task.done():
            self._report_progress(10 + pull.percent * 4 // 10, str(pull), "pull")
            await asyncio.wait({task}, timeout=0.25)
        if fault := task.exception():
            why = sentence(fault)
            self.log.error("Pulling image %s failed: %s", image, why)
            kind = type(fault) if isinstance(fault, Gone | Refused) else Failed
            message = f"Image {image} could not be pulled: {why}"
            raise kind(message, getattr(fault, "response", None)) from fault
        size = f": {pull.total // MEGABYTE} MB" if pull.total else ""
        self._report_progress(50, f"Pulled image {image}{size}")

    async def _image_id(self) -> str:
        """The id that `image` has now, empty where it has none."""
        try:
            return str((await perform(self.docker, "inspect_image", self.image))["Id"])
        except Gone:
            return ""

    def _image_missing(self, image: str, gone: EngineError) -> NoSuchImage:
        return NoSuchImage(
            f"Image {image} does not exist on the Docker engine, and pull_policy {self.pull_policy!r} prevents a pull.",
            gone.response,
        )


def _images_by_choice(allowed: Any) -> Any:
    if allowed is None:
        return {}
    if isinstance(allowed, str) and allowed != "*":
        raise TraitError(f'allowed_images takes one text only, "*" for any image; for one image, [{allowed!r}]')
    if isinstance(allowed, list | tuple | set):
        allowed = {image: image for image in allowed}
    return {_stripped(k): _stripped(v) for k, v in allowed.items()} if isinstance(allowed, Mapping) else allowed


def _stripped(text: Any) -> Any:
    return text.strip() if isinstance(text, str) else text
