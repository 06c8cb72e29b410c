"""Every name that the configuration accepts is taken by MLflow; what MLflow refuses is refused when it is read."""

import doctest
import shlex
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from postgres import running_postgres
from toy_runs import Registered, Trained

from ur4rec.config import Config, load_config
from ur4rec.config_section import ConfigError, ConfigSection
from ur4rec.registry import config as registry_config
from ur4rec.registry.champion.move import LONGEST_REASON
from ur4rec.registry.config import RegistryConfig, name_command
from ur4rec.registry.mlflow_client import RegistryError, open_mlflow
from ur4rec.registry.register import register_model

ALIASES = ("challenger_alias", "champion_alias", "anchor_alias")
RESERVED = ["latest", "Latest", "LATEST", "v2", "V2", "v0", "V10"]
GOOD_ALIASES = ["2", "v", "v2a", "latest2", "Champion", "-", "_", "x" * 255]
GOOD_NAMES = ["films", "catalogue.schema.films", ".films", "films.", "our films", "фильмы", "-", "x" * 256]
BAD_NAMES = ["", " ", "   ", ".", "..", "..films", "a/b", "a:b", "films\n", "x" * 257]
GOOD_EXPERIMENTS = ["films", "/Shared/films", "Ann's films", "100 %", ".", " ", "🎬", "x" * 256]
BAD_EXPERIMENTS = ["", "films\n", "a\tb", "x" * 257]


@pytest.mark.parametrize("alias", [*RESERVED, "", "a b", "a@b", "é", "alias\n", "x" * 256])
def test_an_alias_that_mlflow_refuses_is_refused_when_it_is_read(alias: str) -> None:
    for setting in ALIASES:
        with pytest.raises(
            ConfigError, match=rf"^settings: {setting}: expected 1 to 255 letters, digits, _ or -; MLflow"
        ):
            load_config(None, {setting: repr(alias)})
    if alias:
        with pytest.raises(ConfigError, match="warm_start"):
            RegistryConfig.parse({"warm_start": alias})


@pytest.mark.parametrize("alias", RESERVED)
def test_the_refused_aliases_are_those_that_mlflow_keeps(registered: Registered, alias: str) -> None:
    with open_mlflow(registered.tracking_uri) as client, pytest.raises(MlflowException, match="reserved"):
        client.set_registered_model_alias("ur4rec", alias, registered.registration.version)


@pytest.mark.parametrize("alias", GOOD_ALIASES)
def test_an_alias_that_is_accepted_is_set(registered: Registered, alias: str) -> None:
    assert all(getattr(RegistryConfig.parse({name: alias}), name) == alias for name in (*ALIASES, "warm_start"))
    with open_mlflow(registered.tracking_uri) as client:
        client.set_registered_model_alias("ur4rec", alias, registered.registration.version)
        found = client.get_model_version_by_alias("ur4rec", alias)
        client.delete_registered_model_alias("ur4rec", alias)
    assert str(found.version) == registered.registration.version


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_model_name_that_mlflow_refuses_is_refused_when_it_is_read(name: str) -> None:
    with pytest.raises(ConfigError, match="registered_model_name: expected 1 to 256"):
        RegistryConfig.parse({"registered_model_name": name})


@pytest.mark.parametrize("name", BAD_EXPERIMENTS)
def test_an_experiment_name_that_a_database_refuses_is_refused_when_it_is_read(name: str) -> None:
    with pytest.raises(ConfigError, match="experiment_name: expected 1 to 256 characters in one line"):
        RegistryConfig.parse({"experiment_name": name})


def test_a_model_whose_name_has_dots_is_registered(trained: Trained, tracking_uri: str, tmp_path: Path) -> None:
    """MLflow lets registered models have dots in their names, and refuses them in those of logged models."""
    config = RegistryConfig(registered_model_name="catalogue.schema.films", experiment_name="/Shared/Ann's films")
    registration = register_model(*trained.inputs, config, tmp_path / "registration.json", tracking_uri)
    assert registration.model_uri == "models:/catalogue.schema.films/1"
    again = register_model(*trained.inputs, config, tmp_path / "registration.json", tracking_uri)
    assert again == registration


def test_a_database_with_lengths_takes_what_is_accepted() -> None:
    """Unlike sqlite, PostgreSQL keeps to the lengths of its columns."""
    with running_postgres() as uri, open_mlflow(uri) as client:
        for name in GOOD_EXPERIMENTS:
            RegistryConfig.parse({"experiment_name": name})
            client.create_experiment(name)
        for name in GOOD_NAMES:
            RegistryConfig.parse({"registered_model_name": name})
            client.create_registered_model(name)
        client.set_registered_model_tag(GOOD_NAMES[0], "reason", "\\x07" * LONGEST_REASON)
        with pytest.raises(MlflowException, match="too long"):
            client.create_registered_model("x" * 257)
        with pytest.raises(MlflowException, match="too long"):
            client.create_experiment("x" * 257)


def test_advice_on_a_refused_value_speaks_of_the_value(registered: Registered) -> None:
    with (
        pytest.raises(RegistryError, match=r"reserved; correct the setting or option that has this value$"),
        open_mlflow(registered.tracking_uri) as client,
    ):
        client.set_registered_model_alias("ur4rec", "latest", registered.registration.version)


@pytest.mark.parametrize("section", [RegistryConfig, Config])
def test_two_aliases_of_one_name_are_refused(section: type[ConfigSection]) -> None:
    """The challenger would be the champion, past the gate."""
    for same in ({"champion_alias": "challenger"}, {"anchor_alias": "champion"}, {"challenger_alias": "anchor"}):
        with pytest.raises(
            ConfigError, match="challenger_alias, champion_alias, anchor_alias: expected three that differ"
        ):
            section.parse(same)
    assert section.parse({"champion_alias": "live", "challenger_alias": "champion"})


def test_a_command_to_type_names_the_model_as_yaml_reads_it() -> None:
    assert not doctest.testmod(registry_config).failed
    for model in ("songs", "yes", "2024", "a b", "été"):
        argument = shlex.split(name_command("list", model).strip("`"))[-1]
        assert load_config(None, dict([argument.split("=", 1)])).registered_model_name == model
