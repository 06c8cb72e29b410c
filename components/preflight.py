"""What a run is told → whether all of it is there, and where the run logs to."""

from typing import Any, NamedTuple

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def preflight(
    interactions: str,
    items: str,
    item_text: str,
    user_text: str,
    state: str,
    tracking_uri: str,
    data_config: dict[str, Any],
    text_config: dict[str, Any],
    shards_config: dict[str, Any],
    writing_config: dict[str, Any],
    encode_config: dict[str, Any],
    sasrec_config: dict[str, Any],
    retriever_config: dict[str, Any],
    joint_config: dict[str, Any],
    final_config: dict[str, Any],
    evaluation_config: dict[str, Any],
    registration_config: dict[str, Any],
    registry_config: dict[str, Any],
    gate_rules: dict[str, Any],
) -> NamedTuple("Places", [("tracking_uri", str), ("state", str)]):  # type: ignore[valid-type]
    """Thin wrapper around `ur4rec.registry.preflight.check_run`."""
    from ur4rec.registry.preflight import check_run

    return check_run(
        [interactions, items, item_text, user_text],
        {
            "data_config": data_config,
            "text_config": text_config,
            "shards_config": shards_config,
            "writing_config": writing_config,
            "encode_config": encode_config,
            "sasrec_config": sasrec_config,
            "retriever_config": retriever_config,
            "joint_config": joint_config,
            "final_config": final_config,
            "evaluation_config": evaluation_config,
            "registration_config": registration_config,
            "registry_config": registry_config,
            "gate_rules": gate_rules,
        },
        tracking_uri,
        state,
    )
