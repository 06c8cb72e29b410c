"""Vertex AI Pipelines on the loopback interface: what is documented of `projects.locations.pipelineJobs`, and a token.

Bodies are checked against the documented fields: another one, or one of another type, is refused with 400, as there.
A run goes through frames, one for each time it is asked for.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

Json = dict[str, Any]

JOB_FIELDS: dict[str, type] = {
    "displayName": str,
    "pipelineSpec": dict,
    "runtimeConfig": dict,
    "serviceAccount": str,
    "network": str,
    "labels": dict,
}
RUNTIME_FIELDS: dict[str, type] = {"gcsOutputDirectory": str, "parameterValues": dict, "failurePolicy": str}
EXECUTOR_FIELDS = {"image", "command", "args", "env", "resources"}
PARENT = "/v1/projects/me/locations/europe-west4/pipelineJobs"
ACTIVE = {"PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"}


@dataclass
class VertexServer:
    """The state, and how it is changed from the side of the test."""

    jobs: dict[str, Json] = field(default_factory=dict)
    frames: deque[tuple[str, Json]] = field(default_factory=deque)
    """State of the run, and of its tasks: name → state, or state and message."""
    faults: deque[tuple[int, str]] = field(default_factory=deque)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    tokens: int = 0
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create(self, query: dict[str, str], body: Json) -> Json:
        check(JOB_FIELDS, body)
        check(RUNTIME_FIELDS, body["runtimeConfig"])
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", query["pipelineJobId"]):
            raise RefusedError(400, "Invalid pipelineJobId")
        if not body["runtimeConfig"]["gcsOutputDirectory"].startswith("gs://"):
            raise RefusedError(400, "gcsOutputDirectory is not a Cloud Storage path")
        check_specification(body["pipelineSpec"], body["runtimeConfig"]["parameterValues"])
        name = f"{PARENT.removeprefix('/v1/')}/{query['pipelineJobId']}"
        moment = datetime.now(UTC) + timedelta(seconds=len(self.jobs))
        self.jobs[name] = {**body, "name": name, "state": "PIPELINE_STATE_PENDING", "createTime": stamp(moment)}
        return self.jobs[name]

    def get(self, name: str) -> Json:
        job = self.find(name)
        if self.frames and job["state"] in ACTIVE:
            state, tasks = self.frames.popleft()
            job["state"] = f"PIPELINE_STATE_{state}"
            job["jobDetail"] = {"taskDetails": list(describe_tasks(tasks))}
            if state == "FAILED":
                job["error"] = {"code": 9, "message": "The DAG failed because some tasks failed."}
        return job

    def cancel(self, name: str) -> Json:
        if self.find(name)["state"] not in ACTIVE:
            raise RefusedError(400, "is in a terminal state")
        self.jobs[name]["state"] = "PIPELINE_STATE_CANCELLED"
        return {}

    def list_jobs(self, query: dict[str, str]) -> Json:
        if query["orderBy"] != "createTime desc":
            raise RefusedError(400, "unexpected order")
        found = sorted(self.jobs.values(), key=lambda job: str(job["createTime"]), reverse=True)
        for term in query.get("filter", "").split(" AND ") if query.get("filter") else []:
            match = re.fullmatch(r'displayName:"\*(?P<name>.*)\*"|state="(?P<state>\w+)"', term)
            if match is None:
                raise RefusedError(400, f"Invalid filter {term}")
            found = [
                job
                for job in found
                if (match["name"] or "") in job["displayName"] and match["state"] in (None, job["state"])
            ]
        start, size = int(query.get("pageToken", 0)), int(query["pageSize"])
        fields = [field.removeprefix("pipelineJobs.") for field in query["readMask"].split(",")]
        page = [{name: job[name] for name in fields} for job in found[start : start + size]]
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return {"pipelineJobs": page, **more} if page else {}

    def find(self, name: str) -> Json:
        if name not in self.jobs:
            raise RefusedError(404, f"The PipelineJob {name} does not exist.")
        return self.jobs[name]


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check(fields: dict[str, type], body: Json) -> None:
    for name, value in body.items():
        if name not in fields:
            raise RefusedError(400, f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
        if not isinstance(value, fields[name]):
            raise RefusedError(400, f"Invalid value at '{name}'")


def check_specification(specification: Json, parameters: Json) -> None:
    if "platforms" in specification or specification.get("schemaVersion") != "2.1.0":
        raise RefusedError(400, "Invalid pipeline_spec")
    for executor in specification["deploymentSpec"]["executors"].values():
        container = executor["container"]
        if set(container) - EXECUTOR_FIELDS:
            raise RefusedError(400, f"Unknown fields in {container}")
        if "/" in container.get("resources", {}).get("accelerator", {}).get("type", ""):
            raise RefusedError(400, "Invalid accelerator type")
    expected = specification["root"]["inputDefinitions"]["parameters"]
    if set(parameters) - set(expected):
        raise RefusedError(400, "Parameter is not found in the pipeline job input definitions")


def describe_tasks(tasks: Json) -> Iterator[Json]:
    """As the service: a task that is a container is a custom job."""
    yield {"taskId": "1", "taskName": "root", "state": "RUNNING", "createTime": stamp(datetime.now(UTC))}
    begun = datetime(2027, 1, 1, tzinfo=UTC)
    for number, (name, what) in enumerate(tasks.items(), start=2):
        state, message = what if isinstance(what, tuple) else (what, "")
        detail = {"taskId": str(number), "parentTaskId": "1", "taskName": name, "state": state}
        if state not in ("PENDING", "NOT_TRIGGERED"):
            detail["startTime"] = stamp(begun)
            job = f"projects/1/locations/europe-west4/customJobs/{number}00"
            detail["executorDetail"] = {"containerDetail": {"mainJob": job}}
        if state in ("SUCCEEDED", "FAILED", "SKIPPED"):
            detail["endTime"] = stamp(begun + timedelta(seconds=65))
        yield {**detail, **({"error": {"code": 9, "message": message}} if message else {})}


def stamp(moment: datetime) -> str:
    """RFC 3339 with `Z` and as many digits as there are."""
    return moment.isoformat().replace("+00:00", "Z")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    state: VertexServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/token":
            self.state.tokens += 1
            token = f"token-{self.state.tokens}-secret"
            self._send(200, {"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
            return
        self.state.requests.append((self.command, parts.path, query))
        try:
            if self.state.faults:
                raise RefusedError(*self.state.faults.popleft())
            if not re.fullmatch(r"Bearer token-\d+-secret", self.headers.get("authorization", "")):
                raise RefusedError(401, "Request had invalid authentication credentials.")
            answer = self._dispatch(parts.path, query, json.loads(content) if content else None)
        except RefusedError as error:
            self._send(error.status, {"error": {"code": error.status, "message": str(error), "status": "X"}})
            return
        self._send(200, answer)

    def _dispatch(self, path: str, query: dict[str, str], body: Any) -> Json:
        name = path.removeprefix("/v1/")
        if path == PARENT:
            return self.state.create(query, body) if self.command == "POST" else self.state.list_jobs(query)
        if self.command == "POST" and name.endswith(":cancel"):
            return self.state.cancel(name.removesuffix(":cancel"))
        if self.command == "GET":
            return self.state.get(name)
        raise RefusedError(404, "Not Found")

    def _send(self, status: int, body: Json) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running_vertex_server() -> Iterator[VertexServer]:
    """A server without runs."""
    state = VertexServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    server.daemon_threads = True
    state.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def write_service_account(path: Path, server: VertexServer) -> None:
    """A key file of a service account, whose tokens come from the server."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    content = {
        "type": "service_account",
        "project_id": "me",
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "submitter@me.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{server.address}/token",
    }
    path.write_text(json.dumps(content))
