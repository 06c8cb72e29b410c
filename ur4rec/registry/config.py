"""Names under which a model is logged and registered."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from ur4rec.config_section import ConfigSection


def _matching(pattern: str, expected: str) -> AfterValidator:
    """What MLflow, or a database below it, would refuse only when all training is done."""

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


class RegistrationConfig(ConfigSection):
    """Where in MLflow a trained model goes."""

    registered_model_name: ModelName = "ur4rec"
    experiment_name: ExperimentName = "ur4rec"
    challenger_alias: Alias = "challenger"


class RegistryConfig(RegistrationConfig):
    """Also who it is judged against, and what becomes of it."""

    champion_alias: Alias = "champion"
    """Of the version that serves."""
    anchor_alias: Alias = "anchor"
    """Of the version that no later champion may fall behind."""
    promote_automatically: bool = False
    """Whether a retrain that passes the gate becomes the champion without a human."""
    warm_start: Annotated[str, _matching(f"({ALIAS})?", "an alias or a number of a version, or nothing")] = ""
    """Alias or number of the version that training starts from; empty: from scratch."""
