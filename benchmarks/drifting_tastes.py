"""Users with lasting tastes that no window shows: a generated data set that needs a memory.

A user pays visits, a week apart. A visit is errands, then three times a film and a record, then errands. Errands come
in the same order for everybody; only of those after the treats some are left out. Films come from the genre that is
the user's taste in films, records from the user's taste in records; the two tastes are drawn independently, and no
film or record comes twice. Where tastes drift, both change once, at a visit of the user's own, to other genres.

The history ends within the last visit, with its first film and its first record, so that under leave-one-out the film
is the validation target and the record is the test target. At least `longest_window` errands stand before a visit's
first film: a window of so many interactions holds no film before the one target and no record before the other, and
the film that it does hold says nothing of records. The newest taste is seen in at least one visit before the last, the
older one in at least two.

Letters: U users, V visits, R interactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from jaxtyping import Int64

from benchmarks.generated_data import Tables
from ur4rec.columns import GENRES, ITEM_ID, TIMESTAMP, TITLE, USER_ID

FILM_GENRES = (
    *("Western", "Musical", "Horror", "Science Fiction", "War", "Romance", "Heist", "Martial Arts", "Animation"),
    *("Courtroom", "Film Noir", "Sports", "Disaster", "Spy", "Slapstick", "Silent", "Biography", "Fantasy"),
    *("Road Movie", "Nature Documentary"),
)
RECORD_GENRES = (
    *("Jazz", "Punk", "Opera", "Reggae", "Techno", "Country", "Gospel", "Heavy Metal", "Flamenco", "Hip Hop"),
    *("Baroque", "Bossa Nova", "Blues", "Ambient", "Polka", "Disco", "Salsa", "Shoegaze", "Bluegrass", "Choral"),
)
ERRANDS = "Errands"
START_S = 1_500_000_000
WEEK_S, DAY_S = 7 * 86_400, 86_400
MAX_STEP_S = 1_200
"""Within a visit; all of its steps together stay within a day."""


@dataclass(frozen=True)
class Settings:
    """Sizes of the data set."""

    drifts: bool = True
    """Whether every user's tastes change once."""
    num_users: int = 10_000
    num_visits: int = 5
    """The last one holds the targets."""
    num_treats: int = 3
    """Films of a visit, and records."""
    num_genres: int = 10
    """Of films, and of records."""
    items_per_genre: int = 20
    errands_before: int = 5
    """Errands of a visit before its treats."""
    errands_after: tuple[int, int] = (5, 8)
    """Fewest and most errands of a visit after its treats."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks what the docstring of the module promises."""
        assert self.num_visits >= 4
        assert self.num_genres <= len(FILM_GENRES)
        assert self.items_per_genre >= self.num_visits * self.num_treats
        assert 1 <= self.errands_after[0] <= self.errands_after[1]
        assert (self.errands_before + self.errands_after[1] + 2 * self.num_treats) * MAX_STEP_S < DAY_S

    @property
    def num_errands(self) -> int:
        """Errands that there are."""
        return self.errands_before + self.errands_after[1]

    @property
    def longest_window(self) -> int:
        """Interactions of a window that shows no film before the first of a visit, and no record before its first."""
        return self.errands_before + self.errands_after[0]


@dataclass(frozen=True)
class DataSet(Tables):
    """Both tables, and the truth behind them, which is not written: it is for tests only."""

    tastes: pd.DataFrame
    """`user_id, visit, film, record`: the genres at every visit."""


def generate(settings: Settings) -> DataSet:
    """The data set of these settings; the same ones give the same rows."""
    generator = np.random.default_rng(settings.seed)
    films, records = (_draw_tastes(generator, settings) for _ in range(2))
    starts = _draw_drifts(generator, settings)
    visits = np.arange(settings.num_visits)
    is_new = visits >= starts[:, None]
    film_taste, record_taste = (np.where(is_new, tastes[:, 1:], tastes[:, :1]) for tastes in (films, records))
    rows = (
        _write_user(generator, settings, film_taste[user], record_taste[user]) for user in range(settings.num_users)
    )
    items, times = zip(*rows, strict=True)
    lengths = [len(row) for row in items]
    ids = [f"u{user:05d}" for user in range(settings.num_users)]
    return DataSet(
        interactions=pd.DataFrame(
            {
                USER_ID: np.repeat(ids, lengths),
                ITEM_ID: list(chain.from_iterable(items)),
                TIMESTAMP: np.concatenate(times),
            }
        ),
        items=_describe_items(settings),
        tastes=pd.DataFrame(
            {
                USER_ID: np.repeat(ids, settings.num_visits),
                "visit": np.tile(visits, settings.num_users),
                "film": np.array(FILM_GENRES)[film_taste.ravel()],
                "record": np.array(RECORD_GENRES)[record_taste.ravel()],
            }
        ),
    )


def _draw_tastes(generator: np.random.Generator, settings: Settings) -> Int64[np.ndarray, "U 2"]:
    """The older and the newer genre of every user, never the same one."""
    older = generator.integers(settings.num_genres, size=settings.num_users)
    newer = (older + generator.integers(1, settings.num_genres, size=settings.num_users)) % settings.num_genres
    return np.stack([older, newer], axis=1)


def _draw_drifts(generator: np.random.Generator, settings: Settings) -> Int64[np.ndarray, "U"]:
    """First visit of the newer taste; behind the last visit where tastes do not drift."""
    starts = generator.integers(2, settings.num_visits - 1, size=settings.num_users)
    return starts if settings.drifts else np.full_like(starts, settings.num_visits)


def _write_user(
    generator: np.random.Generator, settings: Settings, films: Int64[np.ndarray, "V"], records: Int64[np.ndarray, "V"]
) -> tuple[list[str], Int64[np.ndarray, "R"]]:
    chosen_films = _choose_items(generator, settings, films)
    chosen_records = _choose_items(generator, settings, records)
    start = START_S + int(generator.integers(WEEK_S))
    items: list[str] = []
    times: list[np.ndarray] = []
    for visit in range(settings.num_visits):
        is_last = visit == settings.num_visits - 1
        first = visit * settings.num_treats
        treats = slice(first, first + (1 if is_last else settings.num_treats))
        pairs = zip(chosen_films[treats], chosen_records[treats], strict=True)
        enjoyed = [item for film, record in pairs for item in (f"film-{film:03d}", f"record-{record:03d}")]
        after = 0 if is_last else int(generator.integers(settings.errands_after[0], settings.errands_after[1] + 1))
        errands = [f"errand-{number:02d}" for number in _draw_errands(generator, settings, after)]
        before = settings.errands_before
        visited = [*errands[:before], *enjoyed, *errands[before:]]
        items += visited
        steps = generator.integers(60, MAX_STEP_S, size=len(visited))
        times.append(start + visit * WEEK_S + np.cumsum(steps))
    return items, np.concatenate(times)


def _draw_errands(generator: np.random.Generator, settings: Settings, after: int) -> Iterator[int]:
    """Always in the same order; only of those after the treats some are left out."""
    first = settings.errands_before
    chosen = generator.choice(settings.errands_after[1], after, replace=False)
    return chain(range(first), (first + np.sort(chosen)).tolist())


def _choose_items(generator: np.random.Generator, settings: Settings, genres: Int64[np.ndarray, "V"]) -> list[int]:
    """An item of each visit's genre, none twice; item i is of genre i modulo the number of genres."""
    order = {genre: generator.permutation(settings.items_per_genre) for genre in np.unique(genres).tolist()}
    chosen = np.repeat(genres, settings.num_treats).tolist()
    return [int(order[genre][place]) * settings.num_genres + genre for place, genre in enumerate(chosen)]


def _describe_items(settings: Settings) -> pd.DataFrame:
    kinds = (("film", FILM_GENRES), ("record", RECORD_GENRES))
    rows = [
        (f"{kind}-{number:03d}", f"{kind.title()} {number}", genres[number % settings.num_genres])
        for kind, genres in kinds
        for number in range(settings.num_genres * settings.items_per_genre)
    ]
    rows += [(f"errand-{number:02d}", f"Errand {number}", ERRANDS) for number in range(settings.num_errands)]
    return pd.DataFrame(rows, columns=[ITEM_ID, TITLE, GENRES])
