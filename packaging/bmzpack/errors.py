"""The one exception for what a user can mend, and text of strangers made fit to be shown."""

import unicodedata

LONGEST_MESSAGE = 4000


class UserError(ValueError):
    """What is wrong, where, and what to do, in one or two sentences; the commands print it and exit with code 2."""

    def __init__(self, message: object = "") -> None:
        super().__init__(harmless(str(message)[:LONGEST_MESSAGE]))


def harmless(text: str) -> str:
    """Text of anybody without the characters that control a terminal, hide, reverse its direction, or have no encoding.

    Parameters
    ----------
    text
        Any text; tabs and line ends become spaces.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
