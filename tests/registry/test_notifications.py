"""Notices reach the webhook in its form; a webhook that fails ends nothing and is not shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ur4rec.registry import notifications
from ur4rec.registry.environment import PIPELINE_RUN
from ur4rec.registry.notifications import FORM, UI, WEBHOOK, notify, report_end

pytestmark = pytest.mark.server


@dataclass
class Webhook:
    """What has arrived; the answers to give first."""

    notices: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    received = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            status = received.answers.pop(0) if received.answers else 200
            if status == 200:
                received.notices.append(json.loads(content))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{server.server_port}/hunter2")
        monkeypatch.setenv(PIPELINE_RUN, "7f")
        monkeypatch.setattr(notifications._post.retry, "sleep", lambda seconds: None)
        yield received
        server.shutdown()


def test_a_failed_run_is_told_and_one_that_ended_well_is_not(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(UI, "https://kubeflow.example/pipeline/")
    report_end("SUCCEEDED", "runs/7", "")
    report_end("FAILED", "runs/7", "Task preflight failed.")
    assert webhook.notices == [
        {
            "event": "failed",
            "text": "run failed: runs/7: Task preflight failed.",
            "run_id": "7f",
            "link": "https://kubeflow.example/pipeline/#/runs/details/7f",
        }
    ]
    assert capsys.readouterr().out.splitlines()[1] == "run failed: runs/7: Task preflight failed."


def test_slack_gets_its_own_form(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORM, "slack")
    monkeypatch.setenv(UI, "https://kubeflow.example")
    notify("promoted", "songs <2> & more")
    link = "<https://kubeflow.example/#/runs/details/7f|run>"
    assert webhook.notices == [{"text": f"*promoted*: songs &lt;2&gt; &amp; more {link}"}]
    monkeypatch.delenv(FORM)
    assert notifications._find_form("https://hooks.slack.com/services/T/B/x") == "slack"
    assert notifications._find_form("https://example.com/hooks.slack.com") == "json"


def test_a_webhook_in_trouble_is_asked_again(webhook: Webhook) -> None:
    webhook.answers += [503, 429]
    notify("promoted", "songs")
    assert len(webhook.notices) == 1


def test_a_webhook_that_fails_ends_nothing_and_is_not_shown(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.answers += [404] * 3
    notify("failed", "x")
    for address in ("http://127.0.0.1:9/hunter2", "ftp://host/hunter2", "http://[hunter2"):
        monkeypatch.setenv(WEBHOOK, address)
        notify("failed", "x")
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "notice not sent: the webhook answered 404"
    assert printed.count("notice not sent") == 4
    assert "hunter2" not in printed
    monkeypatch.setenv(WEBHOOK, "")
    notify("failed", "x")
    assert capsys.readouterr().out == ""
