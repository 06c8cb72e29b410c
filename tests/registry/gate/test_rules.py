from pathlib import Path

import pytest

from ur4rec.config_section import ConfigError
from ur4rec.registry.gate.rules import GateRules, load_rules


def test_the_shipped_file_names_every_key() -> None:
    assert set(load_rules().to_dict()) == set(GateRules.model_fields)


def test_a_file_names_only_what_differs_and_settings_win(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_users: 50\nlevel: 0.2\n")
    rules = load_rules(path, {"level": "0.05", "margin_by_users": "{0: 0.2, 100: 0.1}"})
    assert (rules.min_users, rules.level, rules.margin(99), rules.margin(100)) == (50, 0.05, 0.2, 0.1)
    assert rules.bootstrap_samples == load_rules().bootstrap_samples


def test_what_kfp_makes_of_the_rules_is_understood() -> None:
    rules = load_rules(
        overrides={"min_users": 50.0, "margin_by_users": {"0": 0.2, "5000": 0.1}, "test_digest": "0" * 64}
    )
    assert (rules.min_users, rules.margin(10_000), rules.test_digest) == (50, 0.1, "0" * 64)
    assert load_rules(overrides={"test_digest": "null"}).test_digest is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_user: 3", "unknown key 'min_user', did you mean 'min_users'"),
        ("level: 0.6", "level: "),
        ("champion_unscorable: skip", "champion_unscorable: "),
        ("margin_by_users: {100: 0.1}", "expected a margin from 0 users on"),
        ("- 3", "expected keys and values, found list"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_rules(path)
    assert str(error.value).startswith(str(path))


def test_equal_rules_have_equal_digests() -> None:
    assert load_rules().digest() == load_rules(overrides={"min_users": 200.0}).digest()
    assert load_rules().digest() != load_rules(overrides={"min_users": 201}).digest()
