"""Settings of the data, as a file, an override or an option gives them."""

from __future__ import annotations

from typing import Any

import pytest

from ur4rec.config import Config, load_config
from ur4rec.config_section import ConfigError
from ur4rec.data.config import DataConfig


@pytest.mark.parametrize(
    "columns",
    ["user_id=userId, item_id=4", {"user_id": "userId", "item_id": 4}, {"user_id": "userId", "item_id": "4"}],
)
def test_columns_are_a_mapping_or_a_text(columns: Any) -> None:
    assert DataConfig.parse({"columns": columns}).columns == {"user_id": "userId", "item_id": "4"}


@pytest.mark.parametrize(
    ("events", "parsed"),
    [
        ("purchase, addtocart", ("purchase", "addtocart")),
        (["purchase"], ("purchase",)),
        ([1, 2], ("1", "2")),
        (3, ("3",)),
        ("purchase=3,view=0.5", {"purchase": 3.0, "view": 0.5}),
        ({"purchase": 3}, {"purchase": 3.0}),
        ("", ()),
    ],
)
def test_events_are_names_or_numbers_by_name(events: Any, parsed: Any) -> None:
    config = DataConfig.parse({"events": events, "min_rating": 1})
    assert config.events == parsed
    assert DataConfig.parse(config.to_dict()) == config


def test_an_override_is_a_text() -> None:
    config = load_config(overrides={"columns": "user_id=userId,item_id=1", "events": "buy", "literal_item_ids": "[NA]"})
    assert (config.columns, config.events) == ({"user_id": "userId", "item_id": "1"}, ("buy",))
    assert config.literal_item_ids == ("NA",)
    assert Config.parse(config.to_dict()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"columns": "user=a"}, "columns: 'user' is none of user_id, .*; did you mean 'user_id'"),
        ({"columns": "userId"}, "columns: expected NAME=VALUE, and so with every comma, at 'userId'"),
        ({"columns": {"user_id": [1]}}, r"columns.user_id: .*string"),
        ({"events": "buy=3"}, "events: the numbers are ratings, which only min_rating reads"),
        ({"events": "buy=3,view", "min_rating": 1}, "events: expected NAME=VALUE, and so with every comma, at 'view'"),
        ({"events": "buy=much", "min_rating": 1}, "events"),
        ({"time_unit": "weeks"}, "time_unit: .*'excel_days'"),
        ({"literal_item_ids": [None]}, "literal_item_ids"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig.parse(values)
