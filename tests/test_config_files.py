import pytest

from ur4rec.config_files import DuplicateKeyError, parse_setting, parse_yaml, read_settings
from ur4rec.config_section import ConfigError


def test_a_key_given_twice_is_named_with_its_lines(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("epochs_per_stage: 2\n# a note\nseed: 1\n'epochs_per_stage': 3\n")
    message = r"run\.yaml: .*: epochs_per_stage: given in line 1 and again in line 4; keep one of them$"
    with pytest.raises(ConfigError, match=message):
        read_settings(path)


def test_a_key_given_twice_in_a_mapping_of_a_mapping_is_found():
    with pytest.raises(DuplicateKeyError, match=r"^high: given in line 3 and again in line 4"):
        parse_yaml("patience: {low: 2, high: 4}\nseed:\n  high: 3\n  high: 5\n")
    with pytest.raises(ConfigError, match=r"margin_by_users: .* 0: given in line 1 and again in line 1"):
        parse_setting("margin_by_users", "{0: 0.1, 0: 0.2}")


def test_the_same_key_in_several_mappings_or_over_a_merged_one_stands():
    text = "one: &one {low: 1, high: 2}\ntwo: {<<: *one, high: 3}\nlist: [{low: 1}, {low: 2}]\n1: a\n'1': b\n"
    assert parse_yaml(text) == {
        "one": {"low": 1, "high": 2},
        "two": {"low": 1, "high": 3},
        "list": [{"low": 1}, {"low": 2}],
        1: "a",
        "1": "b",
    }


def test_no_object_is_built():
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        parse_setting("seed", "!!python/object/apply:os.getcwd []")
