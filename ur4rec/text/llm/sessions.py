"""The connection pool under both clients."""

from __future__ import annotations

import ssl

import aiohttp
import certifi


def open_session(middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()) -> aiohttp.ClientSession:
    """A pool without a limit of its own, for the batch bounds the number of calls; needs the running loop.

    Trusts the system's certificates and certifi's, and reads the proxy from the environment.

    Args:
        middlewares: What wraps every exchange.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    return aiohttp.ClientSession(connector=connector, middlewares=middlewares, trust_env=True)
