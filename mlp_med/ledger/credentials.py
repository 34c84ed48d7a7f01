"""Tracking URIs may hold a password or a token; nobody but the server may come to see it."""

import re

HIDDEN = "***"
URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"<>`]*)")
QUERY_VALUE = re.compile(r"(?P<name>[?&;][^\s=&;?'\"<>]+=)[^\s&;'\"<>)]+")
WITHOUT_USERS = ("sqlite", "file")  # an @ in these is part of a path


def without_credentials(text: str) -> str:
    """A tracking URI, or a text that may quote one, without user, password and values of a query.

    Whatever stands between :// and an @ goes, a / in a password or not: rather a path too much than
    a secret.
    """
    return QUERY_VALUE.sub(rf"\g<name>{HIDDEN}", URI.sub(_without_user, text))


def _without_user(found: re.Match[str]) -> str:
    scheme, rest = found["scheme"], found["rest"]
    if scheme.partition("+")[0] in WITHOUT_USERS:
        return found[0]
    before, question, query = rest.partition("?")
    if "@" in query and "@" not in before:  # a ? in a password, or an @ in a token: who can tell
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{before.rpartition('@')[2]}{question}{query}"
