"""The pipeline, from interactions to a registered model that was judged."""

from functools import partial
from typing import Any

from kfp import dsl

from components.ask_texts import ask_texts
from components.encode_text import encode_text
from components.end_to_end import end_to_end
from components.evaluate import evaluate
from components.gate_model import gate_model
from components.generate_text import generate_text
from components.joint_finetune import joint_finetune
from components.plan_text_shards import plan_text_shards
from components.preflight import preflight
from components.preprocess_sequences import preprocess_sequences
from components.pretrain_retriever import pretrain_retriever
from components.pretrain_sasrec import pretrain_sasrec
from components.promote_model import promote_model
from components.register_model import register_model
from components.report_run import report_run
from components.resolve_inputs import resolve_inputs
from components.resolve_warm_start import resolve_warm_start
from pipelines.resources import (
    Profile,
    give_defaults,
    give_live_run,
    give_public_links,
    give_registry_keys,
    give_text_keys,
    give_webhook,
    size_task,
)

MAX_TEXT_SHARDS = 8
"""Tasks that ask a language model at once; each keeps to the limits of the configuration by itself."""


def build_training(profile: Profile) -> dsl.base_component.BaseComponent:
    """Return the pipeline, its tasks sized by a profile."""
    size = partial(size_task, profile)

    @dsl.pipeline(name="ur4rec-training", display_name="UR4Rec training")
    def training(
        interactions: str,
        items: str = "",
        data_digest: str = "",
        item_text: str = "",
        user_text: str = "",
        text_digest: str = "",
        device: str = "auto",
        state: str = "",
        tracking_uri: str = "",
        system: str = "",
        seed: str = "",
        text_provider: str = "",
        max_seq_len: str = "",
        max_memory_size: str = "",
        update_trigger: str = "",
        batch_size: str = "",
        epochs_per_stage: str = "",
        sasrec_lr: str = "",
        retriever_lr: str = "",
        settings: dict[str, Any] = {},  # noqa: B006  # kfp's way to a default
        gate_rules: dict[str, Any] = {},  # noqa: B006
        data_code: str = "",
        text_code: str = "",
        training_code: str = "",
        evaluation_code: str = "",
        registry_code: str = "",
        gate_code: str = "",
    ) -> None:
        """Trains, evaluates, registers and judges UR4Rec V2 MoE; what passed the gate may become the champion.

        Args:
            interactions: Folder or file of interactions.
            items: Item table; empty: the one beside the interactions, if there is one.
            data_digest: Digest of both; empty: taken as the run begins, so that a schedule sees new contents.
            item_text: Item texts that exist already, a path, gs://… or s3://…; empty: none.
            user_text: The same of users.
            text_digest: Digest of both, and of the prompts; empty: the same.
            device: auto, cpu or cuda.
            state: Folder, or gs:// or s3://bucket/prefix, that keeps the state of unfinished stages; empty:
                UR4REC_STATE of the config map ur4rec-defaults, and without it a retry begins anew.
            tracking_uri: MLflow's address without credentials; empty: MLFLOW_TRACKING_URI of the config map.
            system: UR4RecV2MoE, UR4RecV2 or UR4RecMoEMemory; this and the next nine empty: as settings say.
            seed: Of the training.
            text_provider: What writes the texts.
            max_seq_len: Interactions that a window holds.
            max_memory_size: Slots of a user's memory; 0 turns it off.
            update_trigger: When a memory is updated.
            batch_size: Users of a step.
            epochs_per_stage: At most.
            sasrec_lr: Learning rate of SASRec.
            retriever_lr: Learning rate of the retriever.
            settings: All other settings that differ from the defaults.
            gate_rules: Rules of the gate that differ from the shipped ones.
            data_code: Digest of the code of preprocess_sequences.
            text_code: The same of generate_text and encode_text.
            training_code: The same of the four stages.
            evaluation_code: The same of evaluate.
            registry_code: The same of register_model.
            gate_code: The same of gate_model and promote_model.
        """
        reported = size(report_run(), "bookkeeping", "Report the run", caching=False)
        with dsl.ExitHandler(give_webhook(give_live_run(reported))):
            checked = preflight(
                interactions=interactions,
                items=items,
                item_text=item_text,
                user_text=user_text,
                state=state,
                tracking_uri=tracking_uri,
                system=system,
                seed=seed,
                text_provider=text_provider,
                max_seq_len=max_seq_len,
                max_memory_size=max_memory_size,
                update_trigger=update_trigger,
                batch_size=batch_size,
                epochs_per_stage=epochs_per_stage,
                sasrec_lr=sasrec_lr,
                retriever_lr=retriever_lr,
                settings=settings,
                gate_rules=gate_rules,
            )
            give_defaults(give_text_keys(give_registry_keys(size(checked, "preflight", "Preflight", caching=False))))
            told = checked.outputs
            registry, kept = told["tracking_uri"], told["state"]

            resolved = resolve_inputs(
                interactions=interactions,
                items=items,
                data_digest=data_digest,
                item_text=item_text,
                user_text=user_text,
                text_digest=text_digest,
                config=told["text_config"],
            )
            size(resolved, "bookkeeping", "Resolve inputs", caching=False)

            preprocessed = preprocess_sequences(
                interactions=interactions,
                items=items,
                data_digest=resolved.outputs["data_digest"],
                code_digest=data_code,
                config=told["data_config"],
            )
            size(preprocessed, "preparation", "Preprocess sequences")
            sequences = preprocessed.outputs["sequences"]

            shards = plan_text_shards(
                max_shards=MAX_TEXT_SHARDS,
                code_digest=text_code,
                config=told["shards_config"],
                sequences=sequences,
            )
            size(shards, "preparation", "Plan text shards")
            with dsl.ParallelFor(shards.output, parallelism=MAX_TEXT_SHARDS) as shard:
                asked = ask_texts(
                    shard=shard,
                    item_text=item_text,
                    user_text=user_text,
                    text_digest=resolved.outputs["text_digest"],
                    code_digest=text_code,
                    config=told["writing_config"],
                    sequences=sequences,
                )
                give_text_keys(size(asked, "asking", "Ask for texts"))

            written = generate_text(
                item_text=item_text,
                user_text=user_text,
                text_digest=resolved.outputs["text_digest"],
                code_digest=text_code,
                config=told["writing_config"],
                asked=dsl.Collected(asked.output),
                sequences=sequences,
            )
            give_text_keys(size(written, "preparation", "Generate text"))

            encoded = encode_text(
                code_digest=text_code,
                config=told["encode_config"],
                device=device,
                sequences=sequences,
                texts=written.outputs["texts"],
            )
            size(encoded, "encoding", "Encode text")
            embeddings = encoded.outputs["embeddings"]

            started = resolve_warm_start(config=told["registry_config"], tracking_uri=registry)
            give_registry_keys(size(started, "registration", "Resolve warm start", caching=False))

            sasrec = pretrain_sasrec(
                code_digest=training_code,
                config=told["sasrec_config"],
                device=device,
                state=kept,
                warm_start=started.outputs["warm_start"],
                tracking_uri=started.outputs["tracking_uri"],
                sequences=sequences,
            )
            give_live_run(size(sasrec, "training", "Stage 1: pretrain SASRec"))

            stages = [sasrec]
            for stage, config, title in (
                (pretrain_retriever, told["retriever_config"], "Stage 2: pretrain retriever"),
                (joint_finetune, told["joint_config"], "Stage 3: joint fine-tuning"),
                (end_to_end, told["final_config"], "Stage 4: end to end"),
            ):
                trained = stage(
                    code_digest=training_code,
                    config=config,
                    device=device,
                    state=kept,
                    sequences=sequences,
                    embeddings=embeddings,
                    previous_checkpoint=stages[-1].outputs["checkpoint"],
                    previous_memories=stages[-1].outputs["memories"],
                )
                stages.append(give_live_run(size(trained, "training", title)))
            _, retriever, joint, final = stages

            evaluated = evaluate(
                code_digest=evaluation_code,
                config=told["evaluation_config"],
                sequences=sequences,
                texts=written.outputs["texts"],
                embeddings=embeddings,
                sasrec=sasrec.outputs["checkpoint"],
                retriever=retriever.outputs["checkpoint"],
                joint=joint.outputs["checkpoint"],
                checkpoint=final.outputs["checkpoint"],
            )
            size(evaluated, "evaluation", "Evaluate")

            registered = register_model(
                code_digest=registry_code,
                config=told["registration_config"],
                tracking_uri=registry,
                sequences=sequences,
                checkpoint=final.outputs["checkpoint"],
                memories=final.outputs["memories"],
                results=evaluated.outputs["results"],
                report=evaluated.outputs["report"],
            )
            give_public_links(give_registry_keys(size(registered, "registration", "Register model")))

            judged = gate_model(
                code_digest=gate_code,
                config=told["registry_config"],
                rules=gate_rules,
                tracking_uri=registry,
                sequences=sequences,
                registration=registered.outputs["registration"],
            )
            give_registry_keys(size(judged, "evaluation", "Judge model", caching=False))

            concluded = promote_model(
                code_digest=gate_code,
                config=told["registry_config"],
                tracking_uri=registry,
                registration=registered.outputs["registration"],
                decision=judged.outputs["decision"],
            )
            give_webhook(give_registry_keys(size(concluded, "registration", "Promote model", caching=False)))

    return training
