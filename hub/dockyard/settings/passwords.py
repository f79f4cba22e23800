"""Easily guessed passwords: common words, rows of keys, repetitions, short numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Words in the most common passwords of eight or more characters, and words of JupyterHub and of teaching.
_WORDS = """
    abc access account admin administrator amazing amsterdam analysis and andrew angel anthony apple april arsenal
    asdf ashley august autumn awesome baby bailey balls banana baseball basketball batman beautiful berlin bigdaddy
    bigdata blue bonjour buster butterfly campus cat change charlie cheese chelsea chocolate class classroom college
    company computer container contrasena cookie correct corvette course cowboys daniel data database debian
    december deep default demo diamond docker dockyard dog dolphin dragon easy elephant fantasy february ferrari
    flower flowers football forever fortnite freedom friday friend friends fruehling fuck gandalf geheim george
    ginger god google guest hallo hannah hardcore hate hello herbst hola home horse hunter iceman iloveyou internet
    is january jasmine jennifer jessica jesus jordan joshua july june jupyter jupyterhub jupyterlab kennwort kernel
    killer kurs lab laboratory learning lecture letmein linux liverpool lockdown login london love lovely loveme
    lovers machine maggie manager march marlboro master matrix matthew maverick may me mercedes metallica michael
    michelle microsoft midnight minecraft monday monkey motdepasse mustang my nicole ninja notebook nothing november
    october office one open oracle packers pass passphrase passwd password passwort peaches pepper phoenix please
    pokemon porsche pretty princess private purple python qazwsx qweasd rainbow ranger redskins research robert
    roblox root rush samantha samsung saturday school science scooter secret secure security semester september
    server sesame shadow slipknot snoopy snowball soccer soleil sommer spiderman spring starwars steelers student
    students summer sunday sunshine super superman system teacher teachers temp test tester testing that the this
    thomas three thunder thursday tigger trustno tuesday two ubuntu uni university unknown user users victoria
    wednesday welcome whatever willkommen winter work yankees you your
"""

# Rows and patterns of keyboards, and the alphabet.
_ROWS = (
    "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "1234567890", "0123456789",
    "abcdefghijklmnopqrstuvwxyz", "1q2w3e4r5t6y7u8i9o0p", "1qaz2wsx3edc4rfv5tgb6yhn", "qazwsxedcrfvtgb", "!@#$%^&*()",
)  # fmt: skip
_LEET = str.maketrans("013457@$!", "oleastasi")
# Number of other characters that an easily guessed password may have, such as a year.
_ROOM = 4


def is_guessable(password: str, names: Iterable[str] = ()) -> bool:
    """Whether an attacker tries the password early. `names` are further words, such as the hub's host name."""
    text = password.lower()
    if re.fullmatch(r"[\d\W_]{0,9}", text) or re.fullmatch(r"(.{1,7}?)\1+.{0,3}", text, re.DOTALL):
        return True
    if len(set(text)) <= 4 or all(_left(half, set()) == 0 for half in (text[::2], text[1::2])):
        # Also two rows that alternate, such as a1b2c3d4.
        return True
    words = {*_WORDS.split(), *(word for name in names for word in re.findall(r"[a-z]{3,}", name.lower()))}
    return any(_left(spelling, words) <= _ROOM for spelling in (text, text.translate(_LEET)))


def _left(text: str, words: set[str]) -> int:
    """Count the letters and digits of a text that belong to no word, row of keys or repetition."""
    known = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    text = _without_rows(text)
    text = re.sub(rf"{known}|(.)\1\1+", " ", text)
    return len(re.sub(r"[\W_]", "", text))


def _without_rows(text: str) -> str:
    """Remove four or more neighbours in a row of keys, in either direction, and three or more neighbouring digits."""
    rows = [*_ROWS, *(row[::-1] for row in _ROWS)]
    found, start = "", 0
    while start < len(text):
        longest = 1
        for end in range(start + 3, len(text) + 1):
            part = text[start:end]
            if (len(part) > 3 or part.isdigit()) and any(part in row for row in rows):
                longest = end - start
        found += " " if longest > 1 else text[start]
        start += longest
    return found
