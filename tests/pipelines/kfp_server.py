"""A Kubeflow Pipelines API server on the loopback interface: it keeps state and is strict.

Every body is checked against the generated models of `kfp_server_api`: a field that they do not have, or one of another
type, is refused with 400. Runs advance by a script, a frame for each time they are asked for. The scheduler works when
told to, on a clock that the test sets.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml
from pods import Pods

from pipelines.cluster.triggers import Cron

TEXT_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "object": (object,),
    "datetime": (str,),
}
KINDS: dict[str, type | tuple[type, ...]] = {
    "STRING": str,
    "STRUCT": dict,
    "LIST": list,
    "BOOLEAN": bool,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": (int, float),
}
ACTIVE = {"PENDING", "RUNNING"}
LOOK_S = 30.0
Json = dict[str, Any]


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Frame:
    """What a run looks like at one time it is asked for."""

    state: str
    tasks: Json = field(default_factory=dict)
    """Name → state, or state and message."""


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


def check_model(model: str, value: Any, where: str) -> None:
    """Compares a JSON value with a generated model."""
    if model.startswith("list["):
        for item in check_type(list, value, where):
            check_model(model[5:-1], item, where)
        return None
    if model.startswith("dict("):
        for key, item in check_type(dict, value, where).items():
            check_model(model[5:-1].split(", ", 1)[1], item, f"{where}.{key}")
        return None
    if model in TEXT_TYPES:
        if not isinstance(value, TEXT_TYPES[model]) or (isinstance(value, bool) and model == "int"):
            raise RefusedError(400, f"{where}: expected {model}, got {type(value).__name__}")
        if model == "datetime":
            assert isinstance(value, str)
            datetime.fromisoformat(value)
        return None
    return check_class(getattr(kfp_server_api, model), value, where)


def check_class(model: Any, value: Any, where: str) -> None:
    if not model.openapi_types:  # an enumeration
        if value not in model.allowable_values:
            raise RefusedError(400, f"{where}: {value!r} is none of {model.allowable_values}")
        return
    types = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for key, item in check_type(dict, value, where).items():
        if key not in types:
            raise RefusedError(400, f"{where}: unknown field {key!r}")
        check_model(types[key], item, f"{where}.{key}")


def check_type(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind):
        raise RefusedError(400, f"{where}: expected {kind.__name__}, got {type(value).__name__}")
    return value


class KfpServer:
    """The state, and how it is changed from the side of the test."""

    def __init__(self) -> None:
        self.experiments: dict[str, Json] = {}
        self.pipelines: dict[str, Json] = {}
        self.versions: dict[str, Json] = {}
        self.runs: dict[str, Json] = {}
        self.schedules: dict[str, Json] = {}
        self.scripts: deque[list[Frame]] = deque()
        """For the next runs; without one, a run succeeds at once."""
        self.faults: deque[Callable[[BaseHTTPRequestHandler], None] | int] = deque()
        """For the next requests: an HTTP status, or what is done with the connection."""
        self.requests: list[Request] = []
        self.token: str | None = None
        self.cookies: str | None = None
        self.forbidden = False
        self.multi_user = False
        self.login_page = False
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.last_ticks: dict[str, datetime] = {}
        self.lock = threading.RLock()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._frames: dict[str, deque[Frame]] = {}
        self._certificate: tuple[Path, Path] | None = None

    @property
    def address(self) -> str:
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}"

    def start(self, certificate: tuple[Path, Path] | None = None) -> None:
        """Listens, on the same port as before."""
        self._certificate = certificate or self._certificate
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), make_handler(self))
        self._server.daemon_threads = True
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Is gone: connections are refused. The state stays."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def close(self) -> None:
        if self._server:
            self.stop()

    def sent(self, method: str, path: str) -> list[Request]:
        """Requests to a path, by a regular expression."""
        return [one for one in self.requests if one.method == method and re.fullmatch(path, one.path)]

    def advance(self, moment: datetime) -> None:
        """Lets time pass: the scheduler looks at every schedule each 30 seconds of it, and not on the minute."""
        while self.now < moment:
            pause_s = LOOK_S - (self.now.timestamp() - 7) % LOOK_S
            if self.now + timedelta(seconds=pause_s) > moment:
                break
            self.now += timedelta(seconds=pause_s)
            for schedule in list(self.schedules.values()):
                self._look_at(schedule)
        self.now = max(self.now, moment)

    def finish(self, run_id: str, state: str = "SUCCEEDED") -> None:
        self.runs[run_id]["state"] = state

    def ticks_of(self, *schedule_ids: str) -> list[str]:
        """The ticks that have started runs, of some schedules."""
        return sorted(
            run["scheduled_at"] for run in self.runs.values() if run.get("recurring_run_id") in set(schedule_ids)
        )

    def _look_at(self, schedule: Json) -> None:
        """As the scheduler of KFP: from the last tick, else the start, else the making of the schedule."""
        key = schedule["recurring_run_id"]
        trigger = schedule["trigger"].get("cron_schedule") or schedule["trigger"]["periodic_schedule"]
        begun = datetime.fromisoformat(trigger.get("start_time") or schedule["created_at"])
        last = self.last_ticks.get(key, begun)
        tick = self._next(trigger, last)
        while schedule.get("no_catchup") and self._next(trigger, tick) <= self.now:
            tick = self._next(trigger, tick)
        active = [run for run in self.runs.values() if run.get("recurring_run_id") == key and run["state"] in ACTIVE]
        end = datetime.fromisoformat(trigger.get("end_time") or "9999-12-31T00:00:00+00:00")
        is_due = tick <= min(self.now, end) and schedule["status"] == "ENABLED"
        if is_due and len(active) < int(schedule["max_concurrency"]):
            self.last_ticks[key] = tick
            body = {
                "display_name": schedule["display_name"],
                "experiment_id": schedule["experiment_id"],
                "pipeline_version_reference": dict(schedule["pipeline_version_reference"]),
                "runtime_config": schedule["runtime_config"],
            }
            run = self.create_run(body)
            run |= {"recurring_run_id": key, "scheduled_at": tick.isoformat(), "state": "RUNNING"}

    @staticmethod
    def _next(trigger: Json, moment: datetime) -> datetime:
        if "interval_second" in trigger:
            return moment + timedelta(seconds=int(trigger["interval_second"]))
        found = parse_leniently(trigger["cron"]).next_after(moment)
        assert found
        return found

    # what the API does

    def create_experiment(self, body: Json) -> Json:
        self._check_namespace(body)
        check_class(kfp_server_api.V2beta1Experiment, body, "experiment")
        return self._add(self.experiments, "experiment_id", body)

    def create_pipeline(self, body: Json) -> Json:
        self._check_namespace(body)
        check_class(kfp_server_api.V2beta1Pipeline, body, "pipeline")
        if any(one["display_name"] == body["display_name"] for one in self.pipelines.values()):
            raise RefusedError(409, "Already exists: pipeline")
        return self._add(self.pipelines, "pipeline_id", body)

    def upload_version(self, query: dict[str, str], content: bytes) -> Json:
        pipeline_id, name = query["pipelineid"], query["name"]
        if pipeline_id not in self.pipelines:
            raise RefusedError(404, f"Pipeline {pipeline_id} not found")
        if any(one["pipeline_id"] == pipeline_id and one["name"] == name for one in self.versions.values()):
            raise RefusedError(409, "Already exists: pipeline version")
        documents = list(yaml.load_all(content, yaml.CSafeLoader))
        specification = documents[0]
        if len(documents) > 1:
            specification = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        body = {
            "pipeline_id": pipeline_id,
            "name": name,
            "display_name": name,
            "description": query.get("description", ""),
            "pipeline_spec": specification,
        }
        return self._add(self.versions, "pipeline_version_id", body)

    def upload_pipeline(self, query: dict[str, str], content: bytes) -> Json:
        """As the interface does: the first version comes with the pipeline."""
        pipeline = self.create_pipeline({"display_name": query["name"]})
        self.upload_version({"pipelineid": pipeline["pipeline_id"], "name": query["name"]}, content)
        return pipeline

    def execute(self, run_id: str, folder: Path, pods: Pods) -> str:
        """Runs the tasks of a run, each in a pod of its own; returns what they print."""
        run = self.runs[run_id]
        version = self.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
        parameters = run.get("runtime_config", {}).get("parameters", {})
        states, log = pods.execute(version["pipeline_spec"], parameters, run_id, folder)
        state = "FAILED" if "FAILED" in states.values() else "SUCCEEDED"
        self._frames[run_id] = deque([Frame(state, states)])
        return log

    def create_run(self, body: Json) -> Json:
        check_class(kfp_server_api.V2beta1Run, body, "run")
        version = self._check_reference(body)
        reference = {"pipeline_id": version["pipeline_id"], "pipeline_version_id": version["pipeline_version_id"]}
        body = {**body, "pipeline_version_reference": reference}
        run = self._add(self.runs, "run_id", {"state": "PENDING", **body})
        self._frames[run["run_id"]] = deque(self.scripts.popleft() if self.scripts else [Frame("SUCCEEDED")])
        return run

    def get_run(self, run_id: str) -> Json:
        run = self._get(self.runs, run_id, "Run")
        frames = self._frames[run_id]
        if run.get("recurring_run_id") is None and frames:
            frame = frames.popleft() if len(frames) > 1 else frames[0]
            run["state"] = frame.state
            run["run_details"] = {"task_details": list(make_details(run_id, frame, self.now))}
        return run

    def terminate_run(self, run_id: str) -> Json:
        run = self._get(self.runs, run_id, "Run")
        if run["state"] not in ACTIVE:
            raise RefusedError(400, f"Run {run_id} is not running")
        self._frames[run_id] = deque([Frame("CANCELED")])
        return {}

    def retry_run(self, run_id: str) -> Json:
        if self._get(self.runs, run_id, "Run")["state"] not in {"FAILED", "CANCELED"}:
            raise RefusedError(400, "Workflow must be Failed/Error to retry")
        self._frames[run_id] = deque([Frame("SUCCEEDED")])
        return {}

    def create_schedule(self, body: Json) -> Json:
        check_class(kfp_server_api.V2beta1RecurringRun, body, "recurring_run")
        self._check_reference(body)
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise RefusedError(400, "Max concurrency of a recurring run must be at least 1 and at most 10")
        cron = body["trigger"].get("cron_schedule", {}).get("cron")
        if cron is not None:
            parse_leniently(cron)
        elif int(body["trigger"]["periodic_schedule"]["interval_second"]) < 1:
            raise RefusedError(400, "Found invalid period schedule interval")
        status = "ENABLED" if body["mode"] == "ENABLE" else "DISABLED"
        return self._add(self.schedules, "recurring_run_id", {**body, "status": status})

    def set_schedule(self, schedule_id: str, status: str) -> Json:
        self._get(self.schedules, schedule_id, "Recurring run")["status"] = status
        return {}

    def delete_schedule(self, schedule_id: str, propagation_policy: str) -> Json:
        self._get(self.schedules, schedule_id, "Recurring run")
        del self.schedules[schedule_id]
        if propagation_policy != "ORPHAN":  # Kubernetes then collects the running workflows
            for run in self.runs.values():
                if run.get("recurring_run_id") == schedule_id and run["state"] in ACTIVE:
                    run["state"] = "FAILED"
        return {}

    def listing(self, kind: str, found: list[Json], query: dict[str, str]) -> Json:
        """One page; a token is the place of the next."""
        if query.get("filter"):
            for predicate in json.loads(query["filter"])["predicates"]:
                check_class(kfp_server_api.V2beta1Predicate, predicate, "filter")
                holds = {"EQUALS": str.__eq__, "IS_SUBSTRING": str.__contains__}[predicate["operation"]]
                found = [one for one in found if holds(one[predicate["key"]], predicate["string_value"])]
        if query.get("experiment_id"):
            found = [one for one in found if one["experiment_id"] == query["experiment_id"]]
        if query.get("sort_by") == "created_at desc":
            found = found[::-1]
        start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 10)
        answer: Json = {kind: found[start : start + size], "total_size": len(found)}
        if start + size < len(found):
            answer["next_page_token"] = str(start + size)
        return {key: value for key, value in answer.items() if value != []}

    def _check_namespace(self, body: Json) -> None:
        if self.multi_user and not body.get("namespace"):
            raise RefusedError(400, "Namespace is empty")
        if not self.multi_user and body.get("namespace"):
            raise RefusedError(400, "In single-user mode, namespace must be empty")

    def _check_reference(self, body: Json) -> Json:
        if body.get("experiment_id") not in self.experiments:
            raise RefusedError(400, f"Experiment {body.get('experiment_id')} not found")
        reference = body["pipeline_version_reference"]
        of_pipeline = [v for v in self.versions.values() if v["pipeline_id"] == reference["pipeline_id"]]
        wanted = reference.get("pipeline_version_id", of_pipeline[-1]["pipeline_version_id"] if of_pipeline else "")
        version = next((v for v in of_pipeline if v["pipeline_version_id"] == wanted), None)
        if version is None:
            raise RefusedError(404, f"Pipeline version {wanted} not found")
        check_parameters(version["pipeline_spec"], body.get("runtime_config", {}).get("parameters", {}))
        return version

    def _add(self, store: dict[str, Json], key: str, body: Json) -> Json:
        identifier = str(uuid.uuid4())
        store[identifier] = {key: identifier, "created_at": self.now.isoformat(), **body}
        return store[identifier]

    def _get(self, store: dict[str, Json], identifier: str, kind: str) -> Json:
        if identifier not in store:
            raise RefusedError(404, f"{kind} {identifier} not found")
        return store[identifier]


def parse_leniently(text: str) -> Cron:
    """As the real server: the sixth field may be missing, and then any weekday will do."""
    fields = text.split()
    fields += ["*"] * (len(fields) == 5)
    if len(fields) != 6:
        raise RefusedError(400, f"Schedule cron is not a supported format: {text}")
    return Cron.of_fields(text, fields)


def check_parameters(specification: Json, parameters: Json) -> None:
    root = specification.get("pipeline_spec", specification)["root"]
    expected = root.get("inputDefinitions", {}).get("parameters", {})
    for name, value in parameters.items():
        if name not in expected:
            raise RefusedError(400, f"parameter {name} is not an input of the pipeline")
        if not isinstance(value, KINDS[expected[name]["parameterType"]]):
            raise RefusedError(400, f"parameter {name} is no {expected[name]['parameterType']}")
    for name, definition in expected.items():
        if name not in parameters and not definition.get("isOptional"):
            raise RefusedError(400, f"parameter {name} is missing")


def make_details(run_id: str, frame: Frame, now: datetime) -> Iterator[Json]:
    """As from Argo's nodes: every task has a driver and, below it, what runs in a pod."""
    common = {"run_id": run_id, "create_time": now.isoformat(), "start_time": now.isoformat()}
    children = [{"pod_name": f"ur4rec-{number}"} for number, _ in enumerate(frame.tasks)]
    root = {"task_id": str(uuid.uuid4()), "display_name": "root", "state": frame.state, "pod_name": "ur4rec-root"}
    yield {**common, **root, "child_tasks": children}
    for number, (name, what) in enumerate(frame.tasks.items()):
        state, message = what if isinstance(what, tuple) else (what, "")
        end = {"end_time": (now + timedelta(seconds=65)).isoformat()} if state not in ACTIVE else {}
        node = {"task_id": str(uuid.uuid4()), "display_name": name, "state": state, "pod_name": f"ur4rec-{number}"}
        yield {**common, **end, **node, "child_tasks": [{"pod_name": f"ur4rec-{number}1"}]}
        inner = {"task_id": str(uuid.uuid4()), "display_name": "executor", "state": state}
        error = {"error": {"code": 13, "message": message}} if message else {}
        yield {**common, **end, **inner, **error, "pod_name": f"ur4rec-{number}1"}


def make_handler(server: KfpServer) -> type[BaseHTTPRequestHandler]:
    """Every request on a connection of its own, so that nobody talks to a server that was stopped."""

    class Handler(KfpHandler):
        state = server

    return Handler


class KfpHandler(BaseHTTPRequestHandler):
    state: KfpServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        with self.state.lock:
            if self.state.faults and self._fail(self.state.faults.popleft()):
                return
            if self.state.login_page:
                self._send(200, b"<html>Log in</html>", "text/html; charset=utf-8")
                return
            try:
                answer = self._dispatch(content)
            except RefusedError as error:
                self._refuse(error.status, str(error))
                return
            self._send(200, json.dumps(answer).encode())

    def _fail(self, fault: Callable[[BaseHTTPRequestHandler], None] | int) -> bool:
        if callable(fault):
            fault(self)
            return True
        if fault:
            self._refuse(fault, f"made to fail, asked by {self.headers.get('authorization')}")
        return bool(fault)

    def _dispatch(self, content: bytes) -> Json:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        is_json = "json" in (self.headers.get("content-type") or "")
        body = json.loads(content) if content and is_json else None
        path = parts.path.removeprefix("/apis/v2beta1")
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.state.requests.append(Request(self.command, path, query, headers, body))
        self._authorize(headers)
        return route(self.state, f"{self.command} {path}", query, body, self._read_file(content))

    def _authorize(self, headers: dict[str, str]) -> None:
        if self.state.token and headers.get("authorization") != f"Bearer {self.state.token}":
            raise RefusedError(401, f"who are you, {headers.get('authorization')}?")
        if self.state.cookies and headers.get("cookie") != self.state.cookies:
            raise RefusedError(401, "no session")
        if self.state.forbidden:
            raise RefusedError(403, "User is not authorized with reason: jobs in namespace")

    def _read_file(self, content: bytes) -> bytes:
        kind = self.headers.get("content-type") or ""
        if not kind.startswith("multipart/form-data"):
            return b""
        message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
        parts = message.get_payload()
        assert isinstance(parts, list)
        (part,) = parts
        assert isinstance(part, Message)
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, json.dumps({"error": message, "code": 2, "message": message}).encode())

    def _send(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def route(server: KfpServer, call: str, query: dict[str, str], body: Any, file: bytes) -> Json:
    """The paths of the API; whatever else is asked for is not there."""
    allowed, action = find_route(server, call)
    unknown = set(query) - allowed
    if unknown:
        raise RefusedError(400, f"unknown query parameters {sorted(unknown)}")
    return action(query, body, file)


PAGE = {"page_token", "page_size", "sort_by", "filter", "namespace", "experiment_id"}
Action = Callable[[dict[str, str], Any, bytes], Json]


def find_route(server: KfpServer, call: str) -> tuple[set[str], Action]:
    fixed: dict[str, tuple[set[str], Action]] = {
        "GET /healthz": (set(), lambda query, body, file: {"multi_user": server.multi_user}),
        "POST /experiments": (set(), lambda query, body, file: server.create_experiment(body)),
        "POST /pipelines": (set(), lambda query, body, file: server.create_pipeline(body)),
        "POST /pipelines/upload": (
            {"name", "display_name", "namespace", "description", "tags"},
            lambda query, body, file: server.upload_pipeline(query, file),
        ),
        "POST /pipelines/upload_version": (
            {"name", "display_name", "pipelineid", "description", "tags"},
            lambda query, body, file: server.upload_version(query, file),
        ),
        "POST /runs": ({"experiment_id"}, lambda query, body, file: server.create_run(body)),
        "POST /recurringruns": (set(), lambda query, body, file: server.create_schedule(body)),
    }
    lists = {"experiments": server.experiments, "pipelines": server.pipelines, "runs": server.runs}
    for kind, store in lists.items():
        fixed[f"GET /{kind}"] = (PAGE, lambda q, b, f, k=kind, s=store: server.listing(k, list(s.values()), q))  # type: ignore[misc]
    fixed["GET /recurringruns"] = (
        PAGE,
        lambda query, body, file: server.listing("recurringRuns", list(server.schedules.values()), query),
    )
    return fixed[call] if call in fixed else find_item(server, call)


def find_item(server: KfpServer, call: str) -> tuple[set[str], Action]:
    part = r"([^/:]+)"
    items: dict[str, Callable[..., tuple[set[str], Action]]] = {
        f"GET /runs/{part}": lambda key: ({"experiment_id"}, lambda q, b, f: server.get_run(key)),
        f"POST /runs/{part}:terminate": lambda key: ({"experiment_id"}, lambda q, b, f: server.terminate_run(key)),
        f"POST /runs/{part}:retry": lambda key: ({"experiment_id"}, lambda q, b, f: server.retry_run(key)),
        f"GET /pipelines/{part}": lambda key: (set(), lambda q, b, f: server._get(server.pipelines, key, "Pipeline")),
        f"GET /recurringruns/{part}": lambda key: (
            set(),
            lambda q, b, f: server._get(server.schedules, key, "Recurring run"),
        ),
        f"POST /recurringruns/{part}:enable": lambda key: (set(), lambda q, b, f: server.set_schedule(key, "ENABLED")),
        f"POST /recurringruns/{part}:disable": lambda key: (
            set(),
            lambda q, b, f: server.set_schedule(key, "DISABLED"),
        ),
        f"DELETE /recurringruns/{part}": lambda key: (
            {"propagation_policy"},
            lambda q, b, f: server.delete_schedule(key, q.get("propagation_policy", "")),
        ),
        f"GET /pipelines/{part}/versions": lambda key: (
            PAGE,
            lambda q, b, f: server.listing(
                "pipeline_versions", [v for v in server.versions.values() if v["pipeline_id"] == key], q
            ),
        ),
        f"GET /pipelines/{part}/versions/{part}": lambda _, key: (
            set(),
            lambda q, b, f: server._get(server.versions, key, "Pipeline version"),
        ),
    }
    for pattern, make in items.items():
        if match := re.fullmatch(pattern, call):
            return make(*match.groups())
    raise RefusedError(404, f"no such path: {call}")


@contextmanager
def running_kfp_server() -> Iterator[KfpServer]:
    """A server without anything in it."""
    server = KfpServer()
    server.start()
    try:
        yield server
    finally:
        server.close()
