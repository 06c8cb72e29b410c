"""The wording of the offline provider: sentences filled in from counts.

Shares are rounded to 10 % and lists kept to three entries. Equal tastes therefore give equal sentences, which are
encoded once. A text varies with what it says about a user and not with how it says it.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from ur4rec.text.requests import ItemRequest, UserRequest, decade_of, measure_typicality, name_decade, rank

VERSION = "2"
"""Every change of the wording raises the version."""

CHANGE_FROM = 10
"""From so many choices on, the five latest and those before them tell a change from chance."""

LISTED = 3
"""One sentence names at most this many genres, eras or titles."""
MIN_SENTENCES = 3
NEARLY_ALL = 0.9
NOTABLE_SHARE = 0.1
LASTING_SHARE = 0.25
NOTABLE_CHANGE = 0.15
DAY_S = 86_400
SPANS = (
    (DAY_S, "in a single day"),
    (7 * DAY_S, "within a week"),
    (31 * DAY_S, "within a month"),
    (366 * DAY_S, "within a year"),
)
"""Each entry is the longest span in seconds and the words for it."""
_BETWEEN_PARTS = re.compile(r"\s*[,>]\s*")
"""Shops write a category as the path to it, in one label."""


def write_item_text(request: ItemRequest) -> str:
    """Describe an item from its metadata."""
    opening = request.name if request.year is None else f"{request.name} ({request.year})"
    if request.genres:
        label = "genre" if len(request.genres) == 1 else "genres"
        sentences = [f"{opening} belongs to the {label} {_join(request.genres)}."]
    else:
        sentences = [_end(opening)]
    if request.year is not None:
        part = ("early", "early", "early", "early", "mid", "mid", "mid", "late", "late", "late")[request.year % 10]
        sentences.append(f"It dates from the {part}{'-' if part == 'mid' else ' '}{name_decade(request.year)}.")
    if request.description:
        sentences.append(_end(request.description))
    return " ".join(sentences)


def write_user_text(request: UserRequest) -> str:
    """Describe a user's preferences in up to five sentences, from the interactions in the request only."""
    if request.is_short:
        return _write_short_text(request.items)
    genres = Counter(chain.from_iterable(item.genres for item in request.items))
    decades = Counter(decade for item in request.items for decade in decade_of(item))
    latest = list(dict.fromkeys(item.name for item in reversed(request.items)))[:LISTED]
    sentences = [
        _write_genres(genres, request.as_of),
        _write_eras(decades),
        _write_typical(request.items, genres + decades, latest),
        _write_titles("The latest choice is", "The latest choices are", latest),
        _write_change(request.items),
    ]
    written = list(filter(None, sentences))
    if len(written) < MIN_SENTENCES:
        written.append(_write_activity(request))
    return " ".join(written)


def _write_short_text(items: Sequence[ItemRequest]) -> str:
    """Name what was chosen, and count its kinds and decades; nothing is concluded from so little."""
    names = list(dict.fromkeys(item.name.rstrip(".") for item in reversed(items)))
    kinds, decades = (Counter(filter(None, _take_turns(map(of, items)))) for of in (_list_kinds, decade_of))
    sentences = (
        _write_counts("", kinds, len(items)),
        _write_counts("from the ", decades, len(items)),
        _write_titles("The latest choice is", "The latest choices are", names[:LISTED]),
        _write_titles("The choice before was", "The choices before were", names[LISTED:]),
        "It is the only choice so far." if len(items) == 1 else "",
    )
    return " ".join(filter(None, sentences))


def _list_kinds(item: ItemRequest) -> tuple[str, ...]:
    """List the genres of an item, each part of a path apart, the last and most special one first."""
    parts = [part for genre in item.genres for part in _BETWEEN_PARTS.split(genre) if part]
    return tuple(dict.fromkeys(reversed(parts)))


def _take_turns(lists: Iterable[Sequence[str]]) -> Iterable[str | None]:
    """Yield the first of every list, then the second of every list, and so on."""
    return chain.from_iterable(zip_longest(*lists))


def _write_counts(before: str, counts: Counter[str], total: int) -> str:
    """Count the most frequent names; of those that are as frequent, the first counted."""
    if not counts:
        return ""
    (first, number), *others = counts.most_common(LISTED)
    verb = "is" if number == 1 else "are"
    named = [f"{number} {verb} {before}{first}", *(f"{number} {before}{name}" for name, number in others)]
    return f"Of {total} {'choice' if total == 1 else 'choices'}, {_join(named)}."


def _write_genres(genres: Counter[str], total: int) -> str:
    top = [(genre, count / total) for genre, count in rank(genres, LISTED) if count / total >= NOTABLE_SHARE]
    if not top:
        return ""
    (first, share), *others = top
    named = [f"{_percent(share)} are {first}", *(f"{_percent(share)} {genre}" for genre, share in others)]
    return f"Of the choices, {_join(named)}."


def _write_eras(decades: Counter[str]) -> str:
    total = decades.total()
    top = [(decade, count / total) for decade, count in rank(decades, LISTED)]
    if not top:
        return ""
    decade, share = top[0]
    if share >= NEARLY_ALL:
        return f"Nearly all choices date from the {decade}."
    named = [f"the {decade} ({_percent(share)})" for decade, share in top if share >= NOTABLE_SHARE]
    if share < 0.5:
        return f"The choices come from different eras, above all {_join(named)}."
    return f"Most choices date from {named[0]}{f', then {_join(named[1:])}' if named[1:] else ''}."


def _write_typical(items: Sequence[ItemRequest], profile: Counter[str], latest: Sequence[str]) -> str:
    """Name the titles that are closest to the profile by cosine over genres and decade; among equals, the earliest."""
    names = [name for name in dict.fromkeys(item.name for item in items) if name not in latest]
    if not profile:
        return _write_titles("The first choice was", "The first choices were", names[:LISTED])
    measure = measure_typicality(profile)
    best: dict[str, float] = {}
    for item in items:
        best.setdefault(item.name, measure(item.genres + decade_of(item)))
    typical = heapq.nlargest(LISTED, names, key=best.__getitem__)
    return _write_titles("The most typical title is", "The most typical titles are", typical)


def _write_change(items: Sequence[ItemRequest]) -> str:
    """Tell what is recent from what is long-standing, by genres."""
    if len(items) < CHANGE_FROM:
        return ""
    window = max(5, min(20, len(items) // 4))
    earlier, recent = _genre_shares(items[:-window]), _genre_shares(items[-window:])
    change = {genre: recent.get(genre, 0.0) - earlier.get(genre, 0.0) for genre in sorted({*earlier, *recent})}
    if not change:
        return ""
    more = max(change, key=change.__getitem__) if max(change.values()) >= NOTABLE_CHANGE else ""
    less = min(change, key=change.__getitem__) if min(change.values()) <= -NOTABLE_CHANGE else ""
    lasting = [name for name in change if min(earlier.get(name, 0.0), recent.get(name, 0.0)) >= LASTING_SHARE]
    lasting = sorted({*lasting} - {more, less}, key=lambda name: (-earlier[name], name))[:LISTED]
    return _phrase_change(more, less, lasting)


def _phrase_change(more: str, less: str, lasting: Sequence[str]) -> str:
    moves = list(filter(None, (more and f"more {more}", less and f"less {less}")))
    verb = "is a long-standing interest" if len(lasting) == 1 else "are long-standing interests"
    if moves and lasting:
        return f"Lately there is {_join(moves)}, while {_join(lasting)} {verb}."
    if moves:
        return f"Lately there is {_join(moves)}."
    if lasting:
        return f"{_join(lasting)} {verb}, then as now."
    return "The choices have always been mixed, with no lasting favourite."


def _write_activity(request: UserRequest) -> str:
    if request.as_of == 1:
        return "It is the only choice so far."
    span_s = max(request.timestamps_s) - min(request.timestamps_s)
    when = next((words for longest_s, words in SPANS if span_s <= longest_s), "over more than a year")
    return f"All {request.as_of} choices were made {when}."


def _write_titles(singular: str, plural: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    return _end(f"{singular if len(names) == 1 else plural} {_join(names)}")


def _genre_shares(items: Sequence[ItemRequest]) -> dict[str, float]:
    counts = Counter(chain.from_iterable(item.genres for item in items))
    return {genre: count / len(items) for genre, count in counts.items()}


def _percent(share: float) -> str:
    """Return a share in words, rounded to 10 %."""
    return f"{math.floor(share * 10 + 0.5) * 10}%"


def _join(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _end(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."
