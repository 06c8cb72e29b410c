"""What a text provider is, and the one that needs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ur4rec.text.requests import ItemRequest, UserRequest
from ur4rec.text.template import VERSION, write_item_text, write_user_text


@dataclass(frozen=True, slots=True)
class Text:
    """A text and what wrote it."""

    text: str
    source: str
    """Name of the provider that wrote it, which may differ from text to text (after a refusal, say)."""


Advance = Callable[[int], None]
"""Told how many more texts are there."""


class TextProvider(Protocol):
    """Writes texts from requests.

    Requests come as a lazy iterable, and texts are yielded one a request, in the order of the requests. A
    provider is free to look ahead, to keep many requests in flight and to answer from a cache; what it may
    not do is know more of a user than the request holds.
    """

    @property
    def name(self) -> str:
        """Name of the provider, the `source` of its texts."""

    @property
    def version(self) -> str:
        """Changes whenever the same request would get another text; recorded with the texts."""

    def describe_items(self, requests: Iterable[ItemRequest], advance: Advance) -> Iterator[Text]:
        """Item descriptions."""

    def describe_users(self, requests: Iterable[UserRequest], advance: Advance) -> Iterator[Text]:
        """User preferences."""

    def finish(self) -> dict[str, object]:
        """What the manifest says of the work besides; raises a `ValueError` where it cannot be accepted."""


class TemplateProvider:
    """Offline provider: sentences filled in from counts, a pure function of the request."""

    name = "template"
    version = VERSION

    def describe_items(self, requests: Iterable[ItemRequest], advance: Advance) -> Iterator[Text]:
        """Item descriptions from title, year, genres and, where given, the description."""
        for request in requests:
            advance(1)
            yield self.write_item(request)

    def describe_users(self, requests: Iterable[UserRequest], advance: Advance) -> Iterator[Text]:
        """Three to five sentences a user: genres, eras, titles, what is recent and what has lasted."""
        for request in requests:
            advance(1)
            yield self.write_user(request)

    def write_item(self, request: ItemRequest) -> Text:
        """One item description."""
        return Text(write_item_text(request), self.name)

    def write_user(self, request: UserRequest) -> Text:
        """One text of a user's preferences."""
        return Text(write_user_text(request), self.name)

    def finish(self) -> dict[str, object]:
        """Nothing to say."""
        return {}
