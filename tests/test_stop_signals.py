import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, time
from ur4rec.stop_signals import finished_first, interrupted_by_signals
signal.signal(signal.SIGHUP, signal.SIG_IGN if "nohup" in sys.argv else signal.SIG_DFL)
with interrupted_by_signals():
    try:
        if "shielded" in sys.argv:
            with finished_first():
                print("ready", flush=True)
                sys.stdin.readline()
                print("finished", flush=True)
        else:
            print("ready", flush=True)
            sys.stdin.readline()
            print("read", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()
        print("tidied", flush=True)
        raise
"""


def run(*arguments: str, signals: list[signal.Signals], lines: int) -> tuple[int, list[str], str]:
    """Sends each signal once the process has said its line, then one line of input for each `lines`."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        said = []
        for number in signals:
            said.append(process.stdout.readline().strip())
            process.send_signal(number)
        out, error = process.communicate("\n" * lines)
    return process.returncode, [*said, *out.split()], error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_process_with_its_code_and_without_a_traceback(number: signal.Signals) -> None:
    assert run(signals=[number], lines=1) == (128 + number, ["ready", "interrupted", "tidied"], "")


def test_a_second_signal_does_not_disturb_the_tidying_but_ctrl_c_does() -> None:
    signals = [signal.SIGTERM, signal.SIGTERM]
    assert run(signals=signals, lines=1) == (143, ["ready", "interrupted", "tidied"], "")
    code, said, _ = run(signals=[signal.SIGTERM, signal.SIGINT], lines=0)
    assert (code, said) == (130, ["ready", "interrupted"])


def test_what_must_be_finished_is_finished_first() -> None:
    assert run("shielded", signals=[signal.SIGTERM], lines=2) == (
        143,
        ["ready", "finished", "interrupted", "tidied"],
        "",
    )


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    assert run("nohup", signals=[signal.SIGHUP], lines=1) == (0, ["ready", "read"], "")
