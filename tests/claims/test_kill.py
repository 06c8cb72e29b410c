"""Processes that are killed at any moment pay for nothing twice, but for the calls in flight."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from present import present
from server import Behaviour, ChatServer, Fault, serve
from toy_sequences import BuildSequences
from toy_texts import KEY, build_toy, list_prompts, make_config, read_files

from ur4rec.storage.stores import open_store
from ur4rec.text.config import TextConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.llm.store import FILE

pytestmark = [pytest.mark.server, pytest.mark.slow]

CONCURRENCY = 4
KILLS = 5
LENGTHS = {f"u{number}": length for number, length in enumerate([30, 30, 28, 27, 26, 25, 24, 20, 16, 15, 14, 12, 12])}
SHARD = "import sys; from pathlib import Path; from ur4rec.text.config import TextConfig as Config\n" + (
    "from ur4rec.text.shards import ask_shard\n"
    "ask_shard(Path(sys.argv[1]), Config.model_validate_json(sys.argv[2]), sys.argv[3])\n"
)
LIMIT_S = 240.0


@dataclass
class Writer:
    """A command that is started again after every kill."""

    command: list[str]
    log: Path
    command_lines: list[bytes] = field(default_factory=list)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            environment = os.environ | {"TMPDIR": str(self.log.parent)}
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.command_lines.append(self._read_command_line())

    def _read_command_line(self) -> bytes:
        """As others see it; for a moment after the start there is none."""
        assert self.process
        deadline = time.monotonic() + LIMIT_S
        while not (line := Path(f"/proc/{self.process.pid}/cmdline").read_bytes()):
            assert time.monotonic() < deadline, "no command line"
            time.sleep(0.001)
        return line

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        assert self.process
        assert self.is_running(), f"ended before it was killed: {self.log.read_text()}"
        self.process.kill()
        assert self.process.wait() == -9

    def finish(self) -> None:
        assert self.process
        assert self.process.wait(LIMIT_S) == 0, self.log.read_text()


@pytest.fixture
def sequences(build_sequences: BuildSequences, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OPENAI_API_KEY", "DASHSCOPE_API_KEY"):
        monkeypatch.setenv(name, KEY)
    return build_toy(build_sequences, LENGTHS)


def write_undisturbed(sequences: Path, tmp_path: Path, provider: str) -> dict[str, bytes]:
    """The files of a run that nobody disturbs."""
    with serve(Behaviour()) as server:
        config = make_config(server, tmp_path / "undisturbed_cache", provider)
        generate_text(sequences, tmp_path / "undisturbed", config)
    return read_files(tmp_path / "undisturbed")


def slow_server() -> Behaviour:
    return Behaviour(latency_ms=40, shares={Fault.FAILING: 0.05, Fault.THROTTLED: 0.05}, api_key=KEY)


def kill_moments(num_prompts: int) -> list[int]:
    """Counts of calls, spread over the whole work."""
    return [num_prompts * number // (KILLS + 1) + number for number in range(1, KILLS + 1)]


def wait_for_calls(server: ChatServer, calls: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while server.counts()["calls"] < calls:
        assert time.monotonic() < deadline, f"no call number {calls}"
        time.sleep(0.002)


def assert_paid_for_once(server: ChatServer, num_prompts: int) -> None:
    """Every prompt was answered well once, but for those in flight at a kill."""
    answered = [entry["successes"] for entry in server.counts(per_prompt=True)["per_prompt"].values()]
    assert len(answered) == num_prompts
    assert min(answered) == 1
    assert sum(answered) - num_prompts <= KILLS * CONCURRENCY, f"{sum(answered)} answers to {num_prompts} prompts"


def assert_key_is_nowhere(tmp_path: Path, writers: list[Writer]) -> None:
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert {writer.log for writer in writers} <= set(files)
    lines = [line for writer in writers for line in writer.command_lines]
    assert len(lines) == KILLS + len(writers)
    assert all(b"text" in line and KEY.encode() not in line for line in lines)


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_a_run_killed_five_times_pays_once_and_writes_the_same_files(
    sequences: Path, tmp_path: Path, provider: str
) -> None:
    expected = write_undisturbed(sequences, tmp_path, provider)
    with serve(slow_server()) as server:
        config = make_config(server, tmp_path / "cache", provider, text_concurrency=CONCURRENCY)
        num_prompts = len(set(list_prompts(sequences, config)))
        writer = Writer(generate_command(sequences, tmp_path / "out", config), tmp_path / "log")
        for moment in kill_moments(num_prompts):
            writer.start()
            wait_for_calls(server, moment)
            writer.kill()
        assert not (tmp_path / "out").exists()
        writer.start()
        writer.finish()
        assert_paid_for_once(server, num_prompts)
    assert read_files(tmp_path / "out") == expected
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [FILE]
    assert_key_is_nowhere(tmp_path, [writer])


def test_an_interrupted_run_keeps_the_answers_to_the_calls_in_flight(sequences: Path, tmp_path: Path) -> None:
    with serve(slow_server()) as server:
        config = make_config(server, tmp_path / "cache", text_concurrency=CONCURRENCY)
        prompts = set(list_prompts(sequences, config))
        writer = Writer(generate_command(sequences, tmp_path / "out", config), tmp_path / "log")
        for moment in kill_moments(len(prompts))[::2]:
            writer.start()
            wait_for_calls(server, moment)
            process = present(writer.process)
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 130
            lines = [line for line in writer.log.read_text().splitlines() if not line.startswith("progress ")]
            assert lines[-2].endswith("what is answered is kept")  # answers that come meanwhile are progress
            assert lines[-1] == "interrupted"
        writer.start()
        writer.finish()
        answered = [entry["successes"] for entry in server.counts(per_prompt=True)["per_prompt"].values()]
    assert answered == [1] * len(prompts)


@pytest.mark.emulator
def test_two_writers_killed_five_times_below_one_prefix(sequences: Path, tmp_path: Path, bucket: str) -> None:
    expected = write_undisturbed(sequences, tmp_path, "openai")
    location = f"gs://{bucket}/texts"
    with serve(slow_server()) as server:
        config = make_config(server, location, text_concurrency=CONCURRENCY)
        prompts = list_prompts(sequences, config)
        assert len(prompts) == len(set(prompts))  # or both would ask for what they have in common
        writers = [Writer(shard_command(sequences, config, f"{n}/2"), tmp_path / f"log{n}") for n in (1, 2)]
        for writer in writers:
            writer.start()
        for number, moment in enumerate(kill_moments(len(prompts))):
            wait_for_calls(server, moment)
            victim = next(writer for writer in (writers[number % 2], *writers) if writer.is_running())
            victim.kill()
            victim.start()
        for writer in writers:
            writer.finish()
        assert_paid_for_once(server, len(prompts))
        counts = server.counts()
        generate_text(sequences, tmp_path / "out", config)
        assert server.counts() == counts
    assert read_files(tmp_path / "out") == expected
    (tmp_path / "objects").mkdir()
    prefix = open_store(location)
    objects = prefix.list_objects()
    assert objects
    assert not prefix.download(objects, tmp_path / "objects")  # none has gone
    prefix.close()
    assert_key_is_nowhere(tmp_path, writers)


def generate_command(sequences: Path, output: Path, config: TextConfig) -> list[str]:
    settings = ("text_base_url", "text_concurrency", "snapshot_base")
    return [
        *(sys.executable, "-c", "from ur4rec.cli import app; app()"),
        *("text", "generate", str(sequences), "--output", str(output)),
        *("--provider", config.text_provider, "--cache", config.text_cache),
        *(part for name in settings for part in ("--set", f"{name}={getattr(config, name)}")),
    ]


def shard_command(sequences: Path, config: TextConfig, shard: str) -> list[str]:
    return [sys.executable, "-c", SHARD, str(sequences), config.model_dump_json(), shard]
