import pickle
import shlex
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from pipelines.resources import load_profile
from ur4rec.commands.console import split_settings
from ur4rec.config import load_config
from ur4rec.config_section import (
    ConfigError,
    ConfigSection,
    DuplicateKeyError,
    FromData,
    TooLargeError,
    parse_setting,
    parse_yaml,
    quote_setting,
    read_settings,
)
from ur4rec.experiments.variants import load_variants
from ur4rec.registry.gate.rules import load_rules
from ur4rec.text.llm.costs import load_prices
from ur4rec.text.llm.prompts import load_prompt


class Shape(ConfigSection):
    width: int = Field(64, ge=1)
    dropout: float = 0.1


class Whole(Shape):
    patience: int = 3


def test_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml: unknown key 'widht', did you mean 'width'\?"):
        Shape.parse({"widht": 3}, "run.yaml")


def test_keys_that_are_no_text_are_unknown_too() -> None:
    with pytest.raises(ConfigError, match=r"unknown key '2', .*; unknown key 'True', .*; unknown key 'foo', "):
        Shape.parse({"foo": 4, True: 3, 2: 6}, "run.yaml")  # type: ignore[dict-item]


def test_bad_value_names_key_and_value() -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml: width: .*greater than or equal to 1.*got 0"):
        Shape.parse({"width": 0}, "run.yaml")


def test_whole_floats_are_integers() -> None:
    assert Shape.parse({"width": 3.0}).width == 3


def test_narrow_keeps_values_and_drops_other_groups() -> None:
    assert Whole(width=7, patience=9).narrow(Shape) == Shape(width=7)


def test_changes_are_what_differs_from_the_defaults_and_what_is_left_to_the_data() -> None:
    values = {"seed": 42, "min_rating": None, "batch_size": "auto", "k_core": True, "columns": {"user_id": "u"}}
    changes = load_config(None, values).list_changes()
    assert changes == {"batch_size": "auto", "k_core": True, "columns": {"user_id": "u"}}


def test_digest_follows_values_only() -> None:
    assert Shape(width=7).digest() == Shape.parse({"dropout": 0.1, "width": 7}).digest()
    assert Shape(width=7).digest() != Shape(width=8).digest()


class Direction(StrEnum):
    UP = "up"
    DOWN = "Down"


class Names(ConfigSection):
    direction: Direction = Direction.UP
    several: tuple[Direction, ...] = (Direction.UP,)
    choice: Literal["full", "Sampled"] | None = None
    number_or_name: int | Literal["auto"] = 3
    text: str = "Free"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"direction": "UP"}, {"direction": "up"}),
        ({"direction": "down"}, {"direction": "Down"}),
        ({"several": ["DOWN", "Up"]}, {"several": ["Down", "up"]}),
        ({"choice": "SAMPLED"}, {"choice": "Sampled"}),
        ({"number_or_name": "AUTO"}, {"number_or_name": "auto"}),
        ({"number_or_name": 5}, {"number_or_name": 5}),
        ({"text": "AUTO"}, {"text": "AUTO"}),
    ],
)
def test_names_are_taken_in_any_case_and_kept_as_they_are_spelled(given: dict[str, Any], expected: object) -> None:
    for section in (Names.parse(given), Names(**given)):
        assert section.to_dict() == Names().to_dict() | expected  # type: ignore[operator]
        assert section.digest() == Names.parse(expected).digest()  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "value"), [("direction", "sideways"), ("several", ["UP", "sideways"])])
def test_a_wrong_name_is_told_those_that_do(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"run\.yaml: {key}.*'up' or 'Down', got 'sideways'"):
        Names.parse({key: value}, "run.yaml")


@pytest.mark.parametrize("key", ["direction", "choice", "number_or_name", "text"])
def test_a_list_where_one_value_belongs_is_told_where_lists_go(key: str) -> None:
    message = (
        rf"run\.yaml: {key}: expected one value; a list of values to try goes into a file for `ur4rec tune --space`"
    )
    with pytest.raises(ConfigError, match=message):
        Names.parse({key: ["up", "down"]}, "run.yaml")
    assert Names.parse({"several": ["up"]}).several == (Direction.UP,)


class Name(ConfigSection):
    name: str = "plays"


@pytest.mark.parametrize("name", ["pl\0ays", "\ud83c", "plays\udcff"])
def test_text_that_no_file_and_no_database_takes_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^configuration: name: holds a character that files and databases"):
        Name.parse({"name": name})
    assert Name.parse({"name": "plays, \n «été» 🎬"}).name.endswith("🎬")


@pytest.mark.parametrize(("key", "value"), [("seed", True), ("min_rating", False), ("dropped_share", True)])
def test_yes_is_no_number(key: str, value: bool) -> None:
    class Toy(ConfigSection):
        seed: int = 1
        min_rating: float | None = None
        dropped_share: float = 0.5
        fused: bool = True
        either: int | bool = 1

    with pytest.raises(ConfigError, match=f"{key}: expected a number, got {value}"):
        Toy.parse({key: value})
    assert Toy.parse({"fused": False, "either": True, "min_rating": 1}).either is True


def test_a_key_given_twice_is_named_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("epochs_per_stage: 2\n# a note\nseed: 1\n'epochs_per_stage': 3\n")
    message = r"run\.yaml: .*: epochs_per_stage: given in line 1 and again in line 4; keep one of them$"
    with pytest.raises(ConfigError, match=message):
        read_settings(path)


def test_a_key_given_twice_in_a_mapping_of_a_mapping_is_found() -> None:
    with pytest.raises(DuplicateKeyError, match=r"^high: given in line 3 and again in line 4"):
        parse_yaml("patience: {low: 2, high: 4}\nseed:\n  high: 3\n  high: 5\n")
    with pytest.raises(ConfigError, match=r"margin_by_users: .* 0: given in line 1 and again in line 1"):
        parse_setting("margin_by_users", "{0: 0.1, 0: 0.2}")


def test_the_same_key_in_several_mappings_or_over_a_merged_one_stands() -> None:
    text = "one: &one {low: 1, high: 2}\ntwo: {<<: *one, high: 3}\nlist: [{low: 1}, {low: 2}]\n1: a\n'1': b\n"
    assert parse_yaml(text) == {
        "one": {"low": 1, "high": 2},
        "two": {"low": 1, "high": 3},
        "list": [{"low": 1}, {"low": 2}],
        1: "a",
        "1": "b",
    }


def test_no_object_is_built() -> None:
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        parse_setting("seed", "!!python/object/apply:os.getcwd []")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("dataset_name", "[eu] plays", "cannot be read as YAML"),
        ("dataset_name", "[eu]", "is read as ['eu'], expected text"),
        ("dataset_name", "{eu}", "is read as {'eu': None}, expected text"),
        ("dataset_name", "2024", "is read as 2024, expected text"),
        ("dataset_name", "yes", "is read as True, expected text"),
        ("dataset_name", "null", "is read as None, expected text"),
        ("dataset_name", "2024-05-06", "expected text"),
        ("dataset_name", "a: b", "expected text"),
        ("dataset_name", "#1", "what is behind # would be lost"),
        ("dataset_name", "Plays #1", "what is behind # would be lost"),
        ("dataset_name", "*plays", "cannot be read as YAML"),
        ("dataset_name", "plays: [eu", "cannot be read as YAML"),
        ("dataset_name", 'it\'s [eu] "plays"\t\\ äé 😀', ""),
        ("text_model", "%x", "cannot be read as YAML"),
        ("text_request_fields", "{top_p: 1 # note}", ""),
        ("min_rating", "[1", "cannot be read as YAML"),
    ],
)
def test_a_value_that_yaml_reads_otherwise_says_how_to_quote_it(key: str, value: str, told: str) -> None:
    """The advice can be pasted into a shell, and then gives the text."""
    if told:
        with pytest.raises(ConfigError) as caught:
            load_config(None, {key: value})
        advice = str(caught.value).partition("; text goes in quotes: --set ")
        assert told in advice[0]
        assert f"{key}: {value!r}" in advice[0]
        (argument,) = shlex.split(advice[2])
    else:
        argument = shlex.split(quote_setting(key, value))[0]
    assert split_settings([argument]).keys() == {key}
    assert parse_yaml(split_settings([argument])[key]) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"[eu] plays"', "[eu] plays"),
        ("'[/x] plays #1'", "[/x] plays #1"),
        ("plays#1", "plays#1"),
        ("a [b] c", "a [b] c"),
        ("https://x/y#z", "https://x/y#z"),
        ('""', ""),
    ],
)
def test_text_that_yaml_reads_as_text_stays(value: str, expected: str) -> None:
    assert load_config(None, {"dataset_name": value}).dataset_name == expected


def test_other_values_are_read_as_before() -> None:
    values = {"min_rating": "null", "k_core": "yes", "min_seq_len": "7", "text_budget": "1.5"}
    config = load_config(None, values)
    assert (config.min_rating, config.k_core, config.min_seq_len, config.text_budget) == (None, True, 7, 1.5)
    assert load_rules(None, {"margin_by_users": "{0: 0.1, 50: 0.05}"}).margin_by_users == {0: 0.1, 50: 0.05}


@pytest.mark.parametrize(
    "text",
    ["[" * 5000 + "]" * 5000, "[" * 5000, "\n".join(" " * depth + "a:" for depth in range(200)), "{a: " * 200],
    ids=["flow", "unclosed", "block", "mappings"],
)
def test_what_is_nested_too_deeply_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.yaml: cannot be read as YAML: nested more than 50 deep, line \d+$"):
        read_settings(path)
    with pytest.raises(ConfigError, match=r"^seed: .* nested more than 50 deep") as failure:
        parse_setting("seed", text)
    assert len(str(failure.value)) < 250


def test_aliases_are_counted_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three lists of three, the last of which stands for 40 values."""
    text = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\n"
    assert parse_yaml(text)["c"] == [[["x"] * 3] * 3] * 3
    monkeypatch.setattr("ur4rec.config_section.MAX_VALUES", 61)
    assert parse_yaml(text)["c"] == [[["x"] * 3] * 3] * 3
    monkeypatch.setattr("ur4rec.config_section.MAX_VALUES", 60)
    with pytest.raises(TooLargeError, match=r"more than 60 values, those counted that aliases \(\*name\) stand for"):
        parse_yaml(text)


def test_an_alias_of_what_it_is_part_of_is_refused() -> None:
    with pytest.raises(TooLargeError, match=r"^\*a is an alias of what it is part of, line 1$"):
        parse_yaml("&a [1, *a]")


@pytest.mark.parametrize("load", [load_config, load_prices, load_profile, load_prompt, load_rules, load_variants])
def test_every_document_of_a_user_is_read_here(tmp_path: Path, load: Callable[..., object]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: " + "[" * 5000)
    with pytest.raises(ValueError, match=r"mine\.yaml: .*nested more than 50 deep") as failure:
        load(str(path) if load in (load_prices, load_profile, load_prompt) else path)
    assert "\n" not in str(failure.value).strip()


class Windows(ConfigSection):
    length: FromData[int] = Field(50, ge=1)
    share: float = 0.5


class Both(Shape, Windows):
    pass


def test_a_setting_may_be_left_to_the_data() -> None:
    both = Both.parse({"length": "auto", "width": 7})
    assert both.left_to_data == {"length"}
    assert both.length == 50  # until the data are there
    assert both.to_dict() == {"length": "auto", "share": 0.5, "width": 7, "dropout": 0.1}
    assert both.to_dict(only_set=True) == {"width": 7, "length": "auto"}
    assert both.digest() != Both(width=7).digest()
    assert both != Both(width=7)


@pytest.mark.parametrize("given", [{"width": "auto"}, {"share": "auto"}, {"length": "automatic"}], ids=str)
def test_other_settings_may_not(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given))):
        Both.parse(given)


def test_what_is_left_goes_with_its_group_and_ends_with_a_value() -> None:
    both = Both.parse({"length": "auto"})
    assert both.narrow(Windows).left_to_data == {"length"}
    assert not both.narrow(Shape).left_to_data
    assert not Both.parse(both.to_dict() | {"length": 20}).left_to_data
    assert Both.parse(both.to_dict()) == pickle.loads(pickle.dumps(both)) == both  # our own


def test_the_data_decide_what_is_left_and_say_why() -> None:
    settled = Both.parse({"length": "auto"}).settle({"length": 20, "width": 9}, {"length": "short", "width": "wide"})
    assert (settled.length, settled.width, settled.left_to_data) == (20, 64, frozenset())
    assert settled.reasons == settled.narrow(Windows).reasons == {"length": "short"}
    assert settled.narrow(Shape).reasons == {}
    assert settled.to_dict() == Both(length=20).to_dict()
    with pytest.raises(ConfigError, match=r"settings from the data: length: .* got 0"):
        Both.parse({"length": "auto"}).settle({"length": 0}, {"length": "none"})
