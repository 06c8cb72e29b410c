"""The tasks on a small data set, and what can be seen of each under a configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import numpy as np
import pandas as pd
import pytest
import torch
from anyio.from_thread import start_blocking_portal

from ur4rec.config import Config
from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.evaluation.evaluate import measure
from ur4rec.evaluation.results import format_results
from ur4rec.evaluation.systems import TrainedSystems
from ur4rec.models.config import Part
from ur4rec.models.tensor_files import read_tensors
from ur4rec.registry.champion.retrain import conclude_retrain
from ur4rec.registry.config import RegistryConfig
from ur4rec.registry.gate.gate import gate_version
from ur4rec.registry.gate.rules import load_rules
from ur4rec.registry.gate.verdict import Verdict, load_verdict, write_verdict
from ur4rec.registry.mlflow_client import open_mlflow, prepare_mlflow
from ur4rec.registry.register import register_model
from ur4rec.registry.warm_start import resolve_warm_start
from ur4rec.storage.artifacts import read_artifact
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.encoder import Encoder, EncoderError
from ur4rec.text.estimate import estimate_texts
from ur4rec.text.generate import find_budget_left, generate_text
from ur4rec.text.llm.chat import ChatAnswer, ChatRequest, Reason, RefusedError
from ur4rec.text.llm.costs import load_prices
from ur4rec.text.llm.lookup import open_cache
from ur4rec.text.llm.provider import (
    LanguageModelProvider,
    TextGenerationError,
    cache_location,
    find_limits,
    open_language_model,
)
from ur4rec.text.requests import ItemRequest
from ur4rec.text.shards import plan_shards
from ur4rec.training.checkpoints import HISTORY, find_weights, load_model, memories_file
from ur4rec.training.config import StageConfig
from ur4rec.training.stages import run_stage, stages_of

prepare_mlflow()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow about its own type hints
    import mlflow.pyfunc  # noqa: F401

OF_MLFLOW = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
]
SASREC, RETRIEVER, JOINT = "pretrain_sasrec", "pretrain_retriever", "joint_finetune"
NUM_USERS, NUM_COMMON, LENGTH = 20, 13, 12
TOY = {
    "dataset_name": "toy",
    "min_seq_len": 4,
    "snapshot_base": 3,
    "text_model_name": "encoder_a",
    "sasrec_hidden_dim": 8,
    "sasrec_num_blocks": 1,
    "sasrec_item_factors": 6,
    "retriever_output_dim": 8,
    "text_components": 4,
    "max_seq_len": 6,
    "memory_dim": 4,
    "max_memory_size": 2,
    "interaction_threshold": 2,
    "time_threshold_s": 200,
    "cooccurrence_neighbors": 5,
    "batch_size": 8,
    "epochs_per_stage": 1,
    "adaptive_min_steps": 2,
    "bootstrap_samples": 100,
    "num_candidates": 3,
    "eval_batch_size": 8,
}
DRIFT, TIME = {"update_trigger": "drift_threshold"}, {"update_trigger": "time_based"}
SAMPLED = {"eval_protocol": "sampled"}
MODEL = {"text_provider": "dashscope"}


class World:
    """The tasks on a small data set; what is there is not made again.

    A task takes its own settings from `config`; what it reads is always made with the settings `TOY`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, Config.parse(TOY)
        self.plays, self.damaged = folder / "plays.csv", folder / "damaged.csv"
        table = draw_plays()
        table.to_csv(self.plays, index=False)
        table.astype({"timestamp": object}).replace({"timestamp": {table["timestamp"][7]: "noon"}}).to_csv(
            self.damaged, index=False
        )
        for number, name in enumerate(("encoder_a", "encoder_b")):
            write_encoder(folder / name, number)
        write_encoder(folder / "encoder_of_no_word", 0, words=["[UNK]", "i0"])
        for name, shipped in (("user.yaml", "user_preferences.v1"), ("item.yaml", "item_description.v1")):
            prompt = files("ur4rec.text.llm") / "prompt_files" / f"{shipped}.yaml"
            (folder / name).write_text(f"# One's own.\n{prompt.read_text()}")

    def place(self, task: str, *sections: ConfigSection) -> tuple[Path, bool]:
        """Folder of a task under some settings, and whether it is there already."""
        folder = self.folder / "-".join([task, *(section.digest()[:12] for section in sections)])
        return folder, folder.exists()

    def sequences(self, config: Config) -> Path:
        section = config.narrow(DataConfig)
        folder, is_there = self.place("sequences", section)
        if not is_there:
            preprocess_sequences(self.plays, folder, section)
        return folder

    def texts(self, config: Config) -> Path:
        section = config.narrow(TextConfig)
        folder, is_there = self.place("texts", section)
        if not is_there:
            generate_text(self.sequences(self.base), folder, section)
        return folder

    def embeddings(self, config: Config) -> Path:
        section = self.with_encoder(config.narrow(EncodeConfig))
        folder, is_there = self.place("embeddings", section)
        if not is_there:
            encode_text(self.sequences(self.base), self.texts(self.base), folder, section, device="cpu")
        return folder

    def with_encoder(self, section: EncodeConfig) -> EncodeConfig:
        return section.model_copy(update={"text_model_name": str(self.folder / section.text_model_name)})

    def with_prompts(self, section: TextConfig) -> TextConfig:
        names = {"text_user_prompt": section.text_user_prompt, "text_item_prompt": section.text_item_prompt}
        own = {field: str(self.folder / name) for field, name in names.items() if name.endswith(".yaml")}
        return section.model_copy(update=own)

    def stage(self, stage: str, config: Config) -> tuple[Path, Path]:
        section = config.narrow(StageConfig)
        folder, is_there = self.place(stage, section)
        checkpoint, memories = folder / "checkpoint", folder / "memories"
        if not is_there:
            names = stages_of(section)
            place = names.index(stage)
            first, second = self.stage(names[place - 1], self.base) if place else (None, None)
            embeddings = None if stage == SASREC else self.embeddings(self.base)
            sequences = self.sequences(self.base)
            run_stage(stage, sequences, checkpoint, memories, section, embeddings, first, second, device="cpu")
        return checkpoint, memories


def draw_plays() -> pd.DataFrame:
    """Users who walk through 13 items, now and then at one time, some of them briefly; two items are rare."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(NUM_USERS):
        length = 5 if user < 3 else LENGTH
        times = 1_000_000 + 1000 * user + 60 * rng.integers(0, 3, length).cumsum()
        items = [f"i{(user + step) % NUM_COMMON}" for step in range(length)]
        items[0] = f"rare{user}" if user in (5, 9) else items[0]
        ratings = rng.integers(1, 6, length)
        rows += list(zip([f"u{user}"] * length, items, times.tolist(), ratings.tolist(), strict=True))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"])


WORDS = (
    *("[UNK]", "The", "latest", "first", "choices", "are", "All", *(f"i{item}" for item in range(NUM_COMMON))),
    *("Item", "and", "were", "made", "in", "a", "single", "day", ".", ","),
)


def write_encoder(folder: Path, seed: int, words: Sequence[str] = WORDS) -> None:
    """A sentence-transformers model on disk: the mean of one random vector a word."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    weights = torch.randn(len(words), 8, generator=torch.Generator().manual_seed(seed))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights.numpy())]).save(str(folder))


# --- What can be seen -------------------------------------------------------------------------------------------------


def see_sequences(world: World, config: Config) -> Any:
    data = load_sequences(world.sequences(config))
    return data.name, data.digest


def see_new_items(world: World, config: Config) -> Any:
    songs = world.damaged.with_name("songs.csv")
    songs.write_text("item_id,title\ni0,First\nunheard,Last\n")
    folder, _ = world.place("with_songs", config)
    preprocess_sequences(world.plays, folder, config.narrow(DataConfig), songs)
    return load_sequences(folder).item_ids


def see_damaged_file(world: World, config: Config) -> Any:
    try:
        folder, _ = world.place("damaged", config)
        return preprocess_sequences(world.damaged, folder, config.narrow(DataConfig)).details["excluded_rows"]
    except DataError as error:
        return str(error)


def see_own_columns(world: World, config: Config) -> Any:
    file = world.damaged.with_name("own.csv")
    kinds = ("view,a,x", "buy,NA,y", "buy,b,z", "buy,c,y", "view,d,x")
    rows = [f"u,{day}/04/2015,{kind}\n" for day, kind in enumerate(kinds, 1)]
    file.write_text("user_id,timestamp,event,item_id,other\n" + "".join(rows))
    try:
        folder, _ = world.place("own", config)
        preprocess_sequences(file, folder, config.narrow(DataConfig))
    except DataError as error:
        return str(error)
    return load_sequences(folder).item_ids, load_sequences(folder).train.tolist()


def see_encoded_file(world: World, config: Config) -> Any:
    file = world.damaged.with_name("encoded.csv")
    file.write_bytes("user_id,item_id,timestamp\nu,ä,1\nu,ö,2\nu,ü,3\n".encode("cp1252"))
    try:
        folder, _ = world.place("in_another_encoding", config)
        return preprocess_sequences(file, folder, config.narrow(DataConfig)).details["num_items"]
    except DataError as error:
        return str(error)


def see_texts(world: World, config: Config) -> Any:
    return read_artifact(world.texts(config)).files


def see_embeddings(world: World, config: Config) -> Any:
    return read_artifact(world.embeddings(config)).files


def see_unreadable_texts(world: World, config: Config) -> Any:
    try:
        return read_artifact(world.embeddings(config)).details["unknown_words"]
    except EncoderError as error:
        return str(error)


def see_encoded_at_once(world: World, config: Config) -> Any:
    encode_batch, sizes = Encoder._encode_batch, []

    def note(self: Encoder, texts: list[str]) -> np.ndarray:
        sizes.append(len(texts))
        return encode_batch(self, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "_encode_batch", note)
        folder, _ = world.place("encoded", config)
        sequences, texts = world.sequences(world.base), world.texts(world.base)
        encode_text(sequences, texts, folder, world.with_encoder(config.narrow(EncodeConfig)), device="cpu")
    return sizes


class Service:
    """A language model that notes what it is asked, and at most how much at once."""

    def __init__(self, refuses: bool) -> None:
        self.refuses, self.asked, self.in_flight, self.peak = refuses, set[ChatRequest](), 0, 0

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        self.asked.add(request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        await anyio.sleep(0.01)
        self.in_flight -= 1
        if self.refuses:
            raise RefusedError("no", Reason.CONTENT_FILTER)
        return ChatAnswer('{"description": "A warm comedy about a family and the sea."}', 9, 9)

    async def aclose(self) -> None: ...


def see_service(world: World, config: Config, refuses: bool = False) -> Any:
    """What is asked for, at most how much at once, and whether the outcome is accepted."""
    service, items = Service(refuses), [ItemRequest(str(number), f"T {number}") for number in range(9)]
    section = world.with_prompts(config.narrow(TextConfig))
    with start_blocking_portal() as portal, TemporaryDirectory() as folder, open_cache(folder) as cache:
        provider = LanguageModelProvider(section, service, cache, portal, load_prices())
        texts = list(provider.describe_items(items, lambda count: None))
        users = provider.version
        try:
            accepted = provider.finish()["fallen_back"]
        except TextGenerationError:
            accepted = None
    return sorted(map(str, service.asked)), users, service.peak, accepted, texts


def see_failures(world: World, config: Config) -> Any:
    return see_service(world, config, refuses=True)


def see_limits(world: World, config: Config) -> Any:
    return find_limits(config.narrow(TextConfig))


def see_place_of_answers(world: World, config: Config) -> Any:
    return cache_location(config.narrow(TextConfig))


def see_address(world: World, config: Config) -> Any:
    """Nobody listens there; without an address it is not even tried."""
    changes = {"text_provider": "openai", "text_max_attempts": 1, "text_cache": str(world.folder / "answers")}
    section = config.narrow(TextConfig).model_copy(update=changes)
    items = [ItemRequest(str(number), f"T {number}") for number in range(60)]
    with pytest.raises(TextGenerationError) as caught, open_language_model(section) as provider:
        list(provider.describe_items(items, lambda count: None))
    return str(caught.value)


def see_spending(world: World, config: Config) -> Any:
    return find_budget_left(config.narrow(TextConfig), [])


def see_prices(world: World, config: Config) -> Any:
    (world.folder / "prices.yaml").write_text("as_of: 2031-05-06\ncurrency: EUR\nper_million_tokens: {}\n")
    table = str(world.folder / config.text_prices) if config.text_prices else ""
    config = config.model_copy(update={"text_cache": str(world.folder / "no_answers"), "text_prices": table})
    return estimate_texts(world.sequences(world.base), config.narrow(TextConfig))


def see_shards(world: World, config: Config) -> Any:
    return plan_shards(world.sequences(world.base), config.narrow(TextConfig), max_shards=4)


def see_stage(stage: str, world: World, config: Config) -> Any:
    """The weights, the memories and the curves that a stage leaves."""
    checkpoint, memories = world.stage(stage, config)
    record = pd.read_json(checkpoint / HISTORY)["stages"].iloc[-1]
    tensors = read_tensors(find_weights(checkpoint, stage)) | torch.load(
        memories / memories_file(stage), weights_only=True
    )
    seen = {name: (tuple(value.shape), value.numpy().tobytes()) for name, value in tensors.items()}
    return seen, {name: value for name, value in record.items() if name != "seconds"}


see_first, see_second, see_third = (partial(see_stage, stage) for stage in (SASREC, RETRIEVER, JOINT))


def see_stages(world: World, config: Config) -> Any:
    return [see(world, config) for see in (see_first, see_second, see_third)]


def evaluate(world: World, config: Config, systems: Any = None) -> Any:
    checkpoint, _ = world.stage(JOINT, world.base)
    systems = systems or TrainedSystems(load_model(checkpoint, stage=SASREC), None, "sasrec", Part.SASREC)
    folder, _ = world.place("candidates", config)
    section = config.narrow(EvaluationConfig)
    results, _ = measure(world.sequences(world.base), checkpoint, systems, section, candidates=folder)
    return results


def see_results(world: World, config: Config) -> Any:
    apart = {"config", "timings_s", "versions", "peak_memory_mb"}
    return evaluate(world, config).model_dump(exclude=apart)


class Watched:
    """One system, which notes how many users it is asked for at once."""

    excludes_seen = True

    def __init__(self, num_items: int) -> None:
        self.scores = torch.randn(num_items + 1, generator=torch.Generator().manual_seed(0))
        self.sizes: list[int] = []

    def __call__(self, histories: Any) -> dict[str, Callable[[np.ndarray], torch.Tensor]]:
        return {"watched": self.score}

    def score(self, users: np.ndarray) -> torch.Tensor:
        self.sizes.append(len(users))
        return self.scores.expand(len(users), -1)

    def expert_weights(self, users: np.ndarray | None = None) -> dict[str, float]:
        return {}

    def memory_stats(self) -> dict[str, float]:
        return {}


def see_scored_at_once(world: World, config: Config) -> Any:
    watched = Watched(load_sequences(world.sequences(world.base)).num_items)
    evaluate(world, config, watched)
    return watched.sizes


def see_registration(world: World, config: Config) -> Any:
    results, report, output = (world.folder / name for name in ("results.json", "report.html", "registration.json"))
    if not results.exists():
        results.write_text(format_results(evaluate(world, world.base), results), encoding="utf-8")
        report.write_text("<!doctype html>")
    uri = f"sqlite:///{world.folder}/mlflow.db"
    inputs = world.sequences(world.base), *world.stage(JOINT, world.base), results, report
    registration = register_model(*inputs, config.narrow(RegistryConfig), output, uri)
    with open_mlflow(uri) as client:
        experiment = client.get_experiment(client.get_run(registration.run_id).info.experiment_id).name
        aliases = client.get_registered_model(registration.name).aliases
    return registration.name, registration.alias if registration.alias in aliases else None, experiment


def see_opponents(world: World, config: Config) -> Any:
    see_registration(world, world.base)
    base, uri = world.base.narrow(RegistryConfig), f"sqlite:///{world.folder}/mlflow.db"
    with open_mlflow(uri) as client:
        version = client.get_model_version_by_alias(base.registered_model_name, base.challenger_alias).version
        for alias in (base.champion_alias, base.anchor_alias):
            client.set_registered_model_alias(base.registered_model_name, alias, version)
    rules = load_rules(overrides={"latency_requests": 1})
    verdict = gate_version(world.sequences(world.base), str(version), config.narrow(RegistryConfig), rules, uri)
    return verdict.champion, verdict.anchor


def see_promotion(world: World, config: Config) -> Any:
    """What becomes of a model that passed the gate."""
    names = config.narrow(RegistryConfig)
    own = config.model_copy(update={"registered_model_name": f"model-{names.digest()[:12]}"})
    see_registration(world, own)
    decision, output, summary = (world.folder / name for name in ("verdict.json", "promotion.json", "promotion.md"))
    write_verdict(
        Verdict(
            verdict="passed",
            model_name=own.registered_model_name,
            challenger="1",
            champion="none",
            anchor="none",
            decided_at="",
            test_digest="",
            population="later",
            num_users=9,
            rules_digest="",
            rules={},
            outcomes=[],
            notes=[],
        ),
        decision,
    )
    uri = f"sqlite:///{world.folder}/mlflow.db"
    with open_mlflow(uri) as client:
        for tag, value in load_verdict(decision).tags().items():
            client.set_model_version_tag(own.registered_model_name, "1", tag, value)
    registration = world.folder / "registration.json"
    return conclude_retrain(registration, decision, names, output, summary, uri).ending


def see_start(world: World, config: Config) -> Any:
    """The version that training would start from."""
    see_registration(world, world.base)
    uri = f"sqlite:///{world.folder}/mlflow.db"
    return resolve_warm_start(config.narrow(RegistryConfig), uri).warm_start.partition("#")[0]
