"""The form in which users choose a profile: HTML that shows every text as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dockerspawner._profiles.choice import LONGEST_TEXT, UNLISTED, Option, Profile, default_of

FIELD = "profile-option-"


class Html(str):
    """Text that is HTML already."""


def element(tag: str, *content: str, **attributes: str | bool) -> Html:
    """An element; whatever is not Html is escaped. `class_` and the like lose their underscores at the end."""
    parts = [tag]
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(name)
        elif value is not False:
            parts.append(f'{name}="{escape(value)}"')
    inner = "".join(one if isinstance(one, Html) else escape(one) for one in content)
    return Html(f"<{' '.join(parts)}>" if tag == "input" else f"<{' '.join(parts)}>{inner}</{tag}>")


# Hides what goes with another choice, and keeps it out of what is sent. Without it all is shown, and works.
_SCRIPT = Html(
    """<script>
(() => {
  const form = document.getElementById("profiles");
  const show = (part, on) => { if (part) { part.hidden = part.disabled = !on; } };
  const update = () => {
    for (const profile of form.querySelectorAll("[data-profile]")) {
      const chosen = profile.querySelector("input[type=radio]").checked;
      profile.classList.toggle("border-primary", chosen);
      show(profile.querySelector("[data-options]"), chosen);
    }
    for (const option of form.querySelectorAll("[data-option]")) {
      const select = option.querySelector("select");
      show(option.querySelector("[data-text]"), !select || select.value === "UNLISTED");
    }
  };
  for (const text of form.querySelectorAll("[data-text] input")) text.required = true;
  form.addEventListener("change", update);
  window.addEventListener("pageshow", update);
  update();
})();
</script>""".replace("UNLISTED", UNLISTED)
)


def form(profiles: Sequence[Profile], options: Mapping[str, Any]) -> Html:
    """What is inside the form; chosen in it is what `options` say, as far as that is still there."""
    chosen = next((profile for profile in profiles if profile.slug == options.get("profile")), None)
    last = options if chosen else {}
    chosen = chosen or default_of(profiles)
    cards = [
        _profile(f"profile-{number}", profile, profile is chosen, last if profile is chosen else {})
        for number, profile in enumerate(profiles)
    ]
    legend = element("legend", "Profile", class_="visually-hidden")
    return Html(element("fieldset", legend, *cards, id="profiles") + _SCRIPT)


def _profile(place: str, profile: Profile, chosen: bool, last: Mapping[str, Any]) -> Html:
    radio = element(
        "input",
        type="radio",
        class_="form-check-input",
        name="profile",
        id=place,
        value=profile.slug,
        checked=chosen,
        required=True,
    )
    name = [element("strong", profile.display_name)]
    if profile.description:
        name.append(element("span", profile.description, class_="d-block text-body-secondary"))
    label = element("label", *name, class_="form-check-label d-block", for_=place)
    parts = [element("div", radio, label, class_="form-check")]
    if profile.options:
        options = [
            _option(f"{place}-{number}", f"{FIELD}{profile.slug}--", option, last)
            for number, option in enumerate(profile.options)
        ]
        legend = element("legend", f"Options of {profile.display_name}", class_="visually-hidden")
        parts.append(element("fieldset", legend, *options, class_="ps-4 pt-2", data_options=True))
    body = element("div", *parts, class_="card-body py-2")
    return element("div", body, class_="card mb-2", data_profile=True)


def _option(place: str, prefix: str, option: Option, last: Mapping[str, Any]) -> Html:
    text = last.get(option.text_key)
    typed = option.unlisted is not None and isinstance(text, str)
    keys = [choice.key for choice in option.choices]
    selected = UNLISTED if typed else last.get(option.key)
    if selected not in ([*keys, UNLISTED] if option.unlisted else keys):
        selected = option.default
    parts = []
    if option.choices:
        names = {choice.key: choice.display_name for choice in option.choices}
        if option.unlisted:
            names[UNLISTED] = option.unlisted.display_name_in_choices
        entries = [element("option", name, value=key, selected=key == selected) for key, name in names.items()]
        parts = [
            element("label", option.display_name, class_="form-label mb-1", for_=place),
            element("select", *entries, class_="form-select", id=place, name=prefix + option.key),
        ]
    if option.unlisted:
        label = option.unlisted.display_name if parts else option.display_name
        field = element(
            "input",
            type="text",
            class_="form-control",
            id=f"{place}-text",
            name=prefix + option.text_key,
            value=str(text)[:LONGEST_TEXT] if typed else "",
            maxlength=str(LONGEST_TEXT),
            pattern=option.unlisted.regex or False,
            title=option.unlisted.message or False,
        )
        labelled = element("label", label, class_="form-label mb-1", for_=f"{place}-text")
        hint = element("div", option.unlisted.message, class_="form-text")
        parts.append(
            element("fieldset", labelled, field, hint if option.unlisted.message else "", class_="mt-2", data_text=True)
        )
    return element("div", *parts, class_="mb-2", data_option=True)


def fresh() -> Html:
    """Asks the user of a sleeping server whether to end it."""
    box = element("input", type="checkbox", class_="form-check-input", name="fresh", value="1", id="fresh")
    label = element("label", "Start afresh (ends the sleeping notebook)", class_="form-check-label", for_="fresh")
    hint = element("div", "Else it goes on where it was, unless something else is chosen above.", class_="form-text")
    return element("div", box, label, hint, class_="form-check mt-3")


def options_of(fields: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The options of a start, from a form's fields or a URL's arguments.

    Of a form, those of the profile that is chosen in it, each as what was selected or typed.
    """
    values = {name: value[0] for name, value in fields.items() if value and name != "_xsrf"}
    prefix = f"{FIELD}{values.get('profile', '')}--"
    options = {name: value for name, value in values.items() if not name.startswith(FIELD)}
    own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    for name, value in own.items():
        key = name.removesuffix(f"--{UNLISTED}")
        if key != name and own.get(key, UNLISTED) == UNLISTED:
            options[name] = value.strip() if isinstance(value, str) else value
        elif key == name and value != UNLISTED:
            options[name] = value
    if "fresh" in options and str(options.pop("fresh")).lower() not in ("", "0", "false", "no", "off"):
        options["fresh"] = True
    return options
