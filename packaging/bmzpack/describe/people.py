"""People of a description: GitHub users are written only where GitHub knows them.

bioimageio.spec asks GitHub for every user whenever a bundle is loaded, and refuses the bundle where there is no answer.
"""

from __future__ import annotations

import logging
import re
import urllib.error
import urllib.request

from bmzpack.bundle.specification import is_known_user
from bmzpack.describe.description import Author, Description

SECONDS = 3
"""So long GitHub is waited for."""


def verified(description: Description) -> Description:
    """The description without GitHub users that cannot be confirmed; each that is left out is said.

    Parameters
    ----------
    description
        Its authors and maintainers are looked at; GitHub is asked for users that bioimageio.spec does not know.
    """
    users = {person.github_user for person in (*description.authors, *description.maintainers) if person.github_user}
    refused = {user for user in users if not is_known_user(user) and not exists(user)}
    for user in sorted(refused):
        logging.getLogger("bmzpack").warning(
            "The GitHub user %s could not be confirmed at api.github.com and is left out: bioimageio.core would refuse "
            "the bundle.",
            user,
        )

    def confirmed(people: list[Author]) -> list[Author]:
        return [
            person.model_copy(update={"github_user": None}) if person.github_user in refused else person
            for person in people
        ]

    changes = {"authors": confirmed(description.authors), "maintainers": confirmed(description.maintainers)}
    return description.model_copy(update=changes) if refused else description


def exists(user: str) -> bool:
    """Whether GitHub confirms a user; False without a connection."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,39}", user):
        return False
    request = urllib.request.Request(f"https://api.github.com/users/{user}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False
