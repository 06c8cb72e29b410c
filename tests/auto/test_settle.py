"""What is left to the data is decided where they are, and nothing else is touched."""

from pathlib import Path

import pytest

from ur4rec.auto.rules import choose
from ur4rec.auto.settle import INHERITED, describe, settle, spell
from ur4rec.auto.statistics import DataStatistics, measure
from ur4rec.config import Config, load_config
from ur4rec.config_section import ConfigError, ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.text.config import GridConfig
from ur4rec.training.config import READ_BY


@pytest.fixture
def data(tmp_path: Path) -> Sequences:
    rows = [f"u{user},i{(user * 7 + step) % 9},{step}" for user in range(1, 11) for step in range(user + 2)]
    (tmp_path / "plays.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    preprocess_sequences(tmp_path / "plays.csv", tmp_path / "sequences", DataConfig())
    return load_sequences(tmp_path / "sequences")


def test_what_is_given_stays(data: Sequences) -> None:
    config = load_config("auto", {"max_seq_len": "33", "seed": "7"})
    settled = settle(config, data)
    chosen = {name: choice.value for name, choice in choose(measure(data)).items()}
    fixed = load_config("auto").to_dict() | chosen | {"max_seq_len": 33, "seed": 7}
    assert settled.to_dict() == Config.parse(fixed).to_dict()
    assert settled.reasons.keys() == chosen.keys() - {"max_seq_len"}
    assert not settled.left_to_data


def test_nothing_left_is_nothing_done(data: Sequences, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config("toy")
    assert settle(config, data, "train") is config
    assert settle(settle(load_config("auto"), data), data, "train").reasons
    assert capsys.readouterr().out == ""


def test_a_section_is_told_of_its_own_settings(data: Sequences, capsys: pytest.CaptureFixture[str]) -> None:
    section = settle(load_config("auto").narrow(GridConfig), data, "generate_text")
    assert section.snapshot_base == 2
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first == "generate_text: settings from the data"
    assert second.startswith("  snapshot_base  2  90 % of")
    assert " ".join([second[20:], *(line.strip() for line in rest)]) == section.reasons["snapshot_base"]


def test_a_table_takes_eighty_columns_and_holds_every_word() -> None:
    choices = choose(DataStatistics(1_000, 1_700, 90_000, short=18, median=62, long=190))
    lines = describe(choices).splitlines()
    assert max(map(len, lines)) <= 80
    told = "".join("".join(lines).split())
    assert len(told) == sum(
        len("".join(f"{name}{spell(each.value)}{each.reason}".split())) for name, each in choices.items()
    )


def test_the_whole_decides_as_its_sections_do(data: Sequences) -> None:
    whole: Config = settle(load_config("auto"), data)
    sections: list[type[ConfigSection]] = [GridConfig, *READ_BY.values()]
    for section in sections:
        part = settle(load_config("auto").narrow(section), data)
        assert part == whole.narrow(section)
        assert part.reasons == whole.narrow(section).reasons


def test_a_value_that_does_not_go_with_what_is_given_is_named(data: Sequences) -> None:
    config = load_config("toy", {"sasrec_hidden_dim": "auto", "sasrec_num_heads": "64"})
    assert settle(config, data).sasrec_hidden_dim == 64
    with pytest.raises(ConfigError, match=r"settings from the data: .*sasrec_hidden_dim 64 is not a multiple of"):
        settle(config.model_copy(update={"sasrec_num_heads": 3}), data)


def test_a_model_that_training_begins_with_goes_before_the_data(data: Sequences) -> None:
    config = load_config("auto", {"sasrec_hidden_dim": "32"})
    settled = settle(config, data, inherited={"max_seq_len": 77, "sasrec_hidden_dim": 16, "seed": 9})
    assert (settled.max_seq_len, settled.sasrec_hidden_dim, settled.seed) == (77, 32, 42)
    assert settled.reasons["max_seq_len"] == INHERITED


def test_rules_read_what_a_section_has_and_what_it_inherits(data: Sequences) -> None:
    config = load_config("auto", {"epochs_per_stage": "50"})
    assert settle(config, data).patience == 10
    assert settle(config, data).reasons["batch_size"].startswith("windows in an epoch: about 10;")
    begun = settle(config, data, inherited={"max_seq_len": 1})
    assert begun.reasons["batch_size"].startswith("windows in an epoch: about 55;")
