"""Addresses to which credentials may be sent."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

CLUSTER_HOST = re.compile(r"[^.:]+|[^:]+\.svc(\.cluster\.local)?")
"""A name; an IPv6 address has no dot either."""


def is_private(endpoint: str) -> bool:
    """Return whether what is sent stays on this machine or in the cluster, or is encrypted."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        return parts.scheme == "https" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return bool(CLUSTER_HOST.fullmatch(host))
