"""Names under which a model is logged and registered."""

from __future__ import annotations

from pydantic import Field

from ur4rec.config_section import ConfigSection

ALIAS = r"^(?!latest$|v\d+$)[A-Za-z0-9_\-]+$"


class RegistryConfig(ConfigSection):
    """Where in MLflow a trained model goes."""

    registered_model_name: str = Field("ur4rec", min_length=1, pattern=r"^[\w.\- ]+$")
    experiment_name: str = Field("ur4rec", min_length=1)
    challenger_alias: str = Field("challenger", pattern=ALIAS)
    champion_alias: str = Field("champion", pattern=ALIAS)
    """Of the version that serves."""
    anchor_alias: str = Field("anchor", pattern=ALIAS)
    """Of the version that no later champion may fall behind."""
    promote_automatically: bool = False
    """Whether a retrain that passes the gate becomes the champion without a human."""
    warm_start: str = Field("", pattern=rf"^$|{ALIAS}")
    """Alias or number of the version that training starts from; empty: from scratch."""
