"""A tracking URI as it may be shown: without the user, password and token that it may hold."""

import ipaddress
import re
from urllib.parse import urlsplit

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_SECRET_OPTIONS = re.compile(r"(?i)(?<=[?&])((?:ssl)?password|passwd|pwd|token|user)=[^&\s]*")


def without_credentials(text: str) -> str:
    """The text with the credentials left out of every URI in it."""
    return _SECRET_OPTIONS.sub(r"\1=…", _CREDENTIALS.sub("", text))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(uri: str) -> str:
    """The host in the URI; "" where there is none."""
    return urlsplit(uri).hostname or ""
