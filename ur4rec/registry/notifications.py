"""Notices for people, sent to a webhook: a run that failed, and what became of a model that was judged."""

from __future__ import annotations

import json
import os
from functools import partial
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tenacity import retry, stop_after_attempt, wait_fixed

from ur4rec.registry.environment import PIPELINE_RUN
from ur4rec.registry.mlflow_client import TRACKING_URI
from ur4rec.storage.task_metrics import GOOD_ENDS, describe_outcome, report_outcome

WEBHOOK = "UR4REC_WEBHOOK_URL"
"""Variable with the address; it is a secret, for who knows it may write there."""
FORM = "UR4REC_WEBHOOK_FORM"
"""Variable with `slack` or `json`; without it the address tells."""
UI = "UR4REC_UI_URL"
"""Variable with the address at which a person's browser finds Kubeflow Pipelines."""
SLACK, JSON = "slack", "json"
TIMEOUT_S = 10.0
FAILED = "failed"


def report_end(state: str, run: str, error: str | None) -> None:
    """Print how a run ended; of one that did not end well send a notice, and end what MLflow has of it."""
    report_outcome(state, run, error)
    if state not in GOOD_ENDS:
        notify(FAILED, describe_outcome(state, run, error))
        _end_in_mlflow("KILLED" if state.startswith("CANCEL") else "FAILED", describe_outcome(state, run, error))


def _end_in_mlflow(status: str, reason: str) -> None:
    if not os.environ.get(TRACKING_URI):
        return
    from ur4rec.registry.pipeline_run import end_run  # a run that ended well needs nothing of MLflow
    from ur4rec.registry.preflight import find_faults

    for fault in find_faults({"MLflow": partial(end_run, status, reason)}):
        print(fault, flush=True)


def notify(event: str, text: str) -> None:
    """Send a notice, where the environment names a webhook; a failure is a line of the log and ends nothing."""
    address = os.environ.get(WEBHOOK, "").strip()
    if not address:
        return
    try:
        if urlsplit(address).scheme not in ("http", "https"):
            raise ValueError
        _post(address, _write(_find_form(address), event, text))
    except HTTPError as error:
        print(f"notice not sent: the webhook answered {error.code}", flush=True)
    except (OSError, ValueError, HTTPException) as error:  # its text may hold the address
        print(f"notice not sent: {type(error).__name__}; expected {WEBHOOK} to be https://…", flush=True)


@retry(stop=stop_after_attempt(3), wait=wait_fixed(2), reraise=True)
def _post(address: str, body: bytes) -> None:
    request = Request(address, body, {"Content-Type": "application/json"})  # noqa: S310  # checked by the caller
    try:
        urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310
    except HTTPError as error:
        error.close()
        raise


def _find_form(address: str) -> str:
    is_slack = urlsplit(address).hostname == "hooks.slack.com"
    return os.environ.get(FORM) or (SLACK if is_slack else JSON)


def _write(form: str, event: str, text: str) -> bytes:
    run_id, ui = os.environ.get(PIPELINE_RUN, ""), os.environ.get(UI, "").rstrip("/")
    link = f"{ui}/#/runs/details/{run_id}" if ui and run_id else ""
    if form == SLACK:
        plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        notice = {"text": f"*{event}*: {plain}" + (f" <{link}|run>" if link else "")}
    else:
        notice = {"event": event, "text": text, "run_id": run_id, "link": link}
    return json.dumps(notice, ensure_ascii=False).encode()
