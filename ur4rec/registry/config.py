"""Settings of the registry: the names under which a model is logged and registered, and who it is judged against."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from ur4rec.config_section import ConfigSection, parse_setting, quote_setting


def _matching(pattern: str, expected: str) -> AfterValidator:
    """Refuse now what MLflow, or a database below it, would refuse only when all training is done."""

    def check(name: str) -> str:
        if not re.fullmatch(pattern, name):
            raise ValueError(f"expected {expected}")
        return name

    return AfterValidator(check)


ALIAS = r"(?!(?i:latest|v[0-9]+)\Z)[A-Za-z0-9_\-]{1,255}"
Alias = Annotated[
    str,
    _matching(ALIAS, "1 to 255 letters, digits, _ or -; MLflow keeps latest, v1, v2, … in any case for itself"),
]
ModelName = Annotated[
    str,
    _matching(r"(?! *\Z|\.\Z|\.\.)[\w.\- ]{1,256}", "1 to 256 letters, digits, _, -, spaces or dots, not .. in front"),
]
ExperimentName = Annotated[str, _matching(r"[^\x00-\x1f\x7f]{1,256}", "1 to 256 characters in one line")]


def name_command(words: str, model: str) -> str:
    r"""Word a command of the registry to type, with the name of the model where that is not the usual one.

    >>> name_command("promote 1", "ur4rec"), name_command("promote 1", "songs")
    ('`ur4rec registry promote 1`', '`ur4rec registry promote 1 --set registered_model_name=songs`')
    >>> name_command("list", "2024 songs")
    '`ur4rec registry list --set \'registered_model_name="2024 songs"\'`'
    """
    key = "registered_model_name"
    if model == RegistrationConfig.model_fields[key].default:
        return f"`ur4rec registry {words}`"
    is_plain = re.fullmatch(r"[A-Za-z][\w.\-]*", model) and parse_setting(key, model) == model
    return f"`ur4rec registry {words} --set {f'{key}={model}' if is_plain else quote_setting(key, model)}`"


class RegistrationConfig(ConfigSection):
    """Settings that say where in MLflow a trained model goes."""

    registered_model_name: ModelName = "ur4rec"
    experiment_name: ExperimentName = "ur4rec"
    challenger_alias: Alias = "challenger"


class RegistryConfig(RegistrationConfig):
    """Settings that also say who a model is judged against, and what becomes of it."""

    champion_alias: Alias = "champion"
    """The version with this alias serves."""
    anchor_alias: Alias = "anchor"
    """No later champion may fall behind the version with this alias."""
    promote_automatically: bool = False
    """Whether a retrain that passes the gate becomes the champion without a human."""
    warm_start: Annotated[str, _matching(f"({ALIAS})?", "an alias or a number of a version, or nothing")] = ""
    """Alias or number of the version that training starts from; empty: from scratch."""

    @model_validator(mode="after")
    def _have_aliases_of_their_own(self) -> Self:
        aliases = self.challenger_alias, self.champion_alias, self.anchor_alias
        if len(set(aliases)) < len(aliases):
            raise ValueError(
                "challenger_alias, champion_alias, anchor_alias: expected three that differ, got " + ", ".join(aliases)
            )
        return self
