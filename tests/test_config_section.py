import pytest
from pydantic import Field

from ur4rec.config_section import ConfigError, ConfigSection


class Shape(ConfigSection):
    width: int = Field(64, ge=1)
    dropout: float = 0.1


class Whole(Shape):
    patience: int = 3


def test_unknown_key_names_the_nearest_one():
    with pytest.raises(ConfigError, match=r"run\.yaml: unknown key 'widht', did you mean 'width'\?"):
        Shape.parse({"widht": 3}, "run.yaml")


def test_keys_that_are_no_text_are_unknown_too():
    with pytest.raises(ConfigError, match=r"unknown key '2', .*; unknown key 'True', .*; unknown key 'foo', "):
        Shape.parse({"foo": 4, True: 3, 2: 6}, "run.yaml")


def test_bad_value_names_key_and_value():
    with pytest.raises(ConfigError, match=r"run\.yaml: width: .*greater than or equal to 1.*got 0"):
        Shape.parse({"width": 0}, "run.yaml")


def test_whole_floats_are_integers():
    assert Shape.parse({"width": 3.0}).width == 3


def test_narrow_keeps_values_and_drops_other_groups():
    assert Whole(width=7, patience=9).narrow(Shape) == Shape(width=7)


def test_digest_follows_values_only():
    assert Shape(width=7).digest() == Shape.parse({"dropout": 0.1, "width": 7}).digest()
    assert Shape(width=7).digest() != Shape(width=8).digest()


class Name(ConfigSection):
    name: str = "plays"


@pytest.mark.parametrize("name", ["pl\0ays", "\ud83c", "plays\udcff"])
def test_text_that_no_file_and_no_database_takes_is_refused(name):
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
