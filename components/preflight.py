"""What a run is told → whether all of it is there, where the run goes, and what each task is told."""

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
    system: str,
    seed: str,
    text_provider: str,
    max_seq_len: str,
    max_memory_size: str,
    update_trigger: str,
    batch_size: str,
    epochs_per_stage: str,
    sasrec_lr: str,
    retriever_lr: str,
    settings: dict[str, Any],
    gate_rules: dict[str, Any],
) -> NamedTuple(  # type: ignore[valid-type]  # kfp's way to name outputs
    "Checked",
    [
        ("tracking_uri", str),
        ("state", str),
        ("data_config", dict[str, Any]),
        ("text_config", dict[str, Any]),
        ("shards_config", dict[str, Any]),
        ("writing_config", dict[str, Any]),
        ("encode_config", dict[str, Any]),
        ("sasrec_config", dict[str, Any]),
        ("retriever_config", dict[str, Any]),
        ("joint_config", dict[str, Any]),
        ("final_config", dict[str, Any]),
        ("evaluation_config", dict[str, Any]),
        ("registration_config", dict[str, Any]),
        ("registry_config", dict[str, Any]),
    ],
):
    """Thin wrapper around `ur4rec.registry.preflight.check_run`."""
    from ur4rec.registry.preflight import check_run

    named = {
        "system": system,
        "seed": seed,
        "text_provider": text_provider,
        "max_seq_len": max_seq_len,
        "max_memory_size": max_memory_size,
        "update_trigger": update_trigger,
        "batch_size": batch_size,
        "epochs_per_stage": epochs_per_stage,
        "sasrec_lr": sasrec_lr,
        "retriever_lr": retriever_lr,
    }
    checked = check_run([interactions, items, item_text, user_text], named, settings, gate_rules, tracking_uri, state)
    return (checked.tracking_uri, checked.state, *checked.groups.values())
