"""How a whole run ended, in one line, for whoever searches logs."""

from __future__ import annotations

GOOD_ENDS = ("SUCCEEDED", "COMPLETE", "CACHED")
"""What versions of the service call a run that ended well."""


def report_outcome(state: str, run: str, error: str | None) -> None:
    """Prints how a run ended.

    Args:
        state: By the name that the service gives it, such as `FAILED`.
        run: Its name.
        error: What the service says about a failure; may be missing or have several lines.
    """
    print(describe_outcome(state, run, error), flush=True)


def describe_outcome(state: str, run: str, error: str | None) -> str:
    """The line.

    >>> describe_outcome("COMPLETE", "runs/7", "")
    'run succeeded: runs/7'
    >>> describe_outcome("FAILED", "runs/7", "Task evaluate failed.")
    'run failed: runs/7: Task evaluate failed.'
    """
    if state in GOOD_ENDS:
        return f"run succeeded: {run}"
    return ": ".join(filter(None, [f"run {state.lower()}", run, " ".join((error or "").split())]))
