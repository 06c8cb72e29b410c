"""Vertex AI Pipelines: runs of one project in one region, asked for over REST with Google's default credentials.

Its runs are shown as those of Kubeflow Pipelines are. The id of one is its name in the API, so it says where it is:
`projects/…/locations/…/pipelineJobs/…`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import google.auth
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from kfp_server_api import (
    GoogleRpcStatus,
    PipelineTaskDetailChildTask,
    V2beta1PipelineTaskDetail,
    V2beta1PipelineVersionReference,
    V2beta1Run,
    V2beta1RunDetails,
)
from requests import RequestException, Response, Session

from pipelines.cluster.addresses import is_private
from pipelines.cluster.failures import (
    OVERLOADED,
    SERVER_FAILURE,
    ClusterError,
    MissingError,
    UnavailableError,
    shorten,
)
from pipelines.cluster.runs import Wanted, check_state
from pipelines.cluster.vertex_job import VertexJob

PROJECT = "GOOGLE_CLOUD_PROJECT"
REGION = "GOOGLE_CLOUD_LOCATION"
OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"
"""Where the API is, if it is not Google's public address; gcloud's name for it."""
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TIMEOUT_S = (10.0, 60.0)
RUN_NAME = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)/pipelineJobs/([a-z0-9-]+)")
STATE_PREFIX = "PIPELINE_STATE_"
STATES = {
    "QUEUED": "PENDING",
    "CANCEL_PENDING": "CANCELING",
    "CANCELLING": "CANCELING",
    "CANCELLED": "CANCELED",
    "SKIPPED": "CACHED",
    "NOT_TRIGGERED": "SKIPPED",
}
"""State of a run or task → that of Kubeflow Pipelines; others are called alike."""
LISTED = ("name", "displayName", "state", "createTime")
STEPS = {
    400: "correct the request",
    401: "log in: `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    403: "ask for the role roles/aiplatform.user, and roles/iam.serviceAccountUser on --service-account",
    404: "check the id, --project and --region, and that the API aiplatform.googleapis.com is enabled",
    OVERLOADED: "the quota is used up: try again later",
    SERVER_FAILURE: "try again",
}


@dataclass(frozen=True)
class Vertex:
    """Runs of a project in a region."""

    project: str
    region: str
    endpoint: str
    session: Session

    @property
    def parent(self) -> str:
        """What runs belong to."""
        return f"projects/{self.project}/locations/{self.region}"

    def start_run(self, job: VertexJob) -> V2beta1Run:
        """Send a run; return it as the server has it."""
        path = f"{self.parent}/pipelineJobs"
        return to_run(self._ask("POST", path, "new run", params={"pipelineJobId": job.job_id}, json=job.body))

    def read_run(self, run_id: str) -> V2beta1Run:
        """Ask for a run."""
        return to_run(self._ask("GET", run_id, f"run {run_id}"))

    def read_version(self, reference: V2beta1PipelineVersionReference) -> Any:
        """Return nothing: a run holds what was compiled."""
        raise MissingError(f"{self.endpoint}: has no versions of pipelines")

    def stop_run(self, run_id: str) -> None:
        """Stop a run."""
        self._ask("POST", f"{run_id}:cancel", f"run {run_id}", json={})

    def list_page(self, wanted: Wanted) -> tuple[list[V2beta1Run], str]:
        """Return the newest runs, and the name of the next page, which is empty at the end."""
        query = {
            "filter": " AND ".join(_filter(wanted)),
            "pageSize": wanted.limit,
            "pageToken": wanted.page,
            "orderBy": "createTime desc",
            "readMask": ",".join(f"pipelineJobs.{field}" for field in LISTED),
        }
        given = {name: value for name, value in query.items() if value}
        answer = self._ask("GET", f"{self.parent}/pipelineJobs", "runs", params=given)
        return [to_run(job) for job in answer.get("pipelineJobs", [])], answer.get("nextPageToken", "")

    def run_url(self, run_id: str) -> str:
        """Return the address of the page of a run."""
        name = run_id.rpartition("/")[2]
        place = f"locations/{self.region}/pipelines/runs/{name}"
        return f"https://console.cloud.google.com/vertex-ai/{place}?project={self.project}"

    def write_log_command(self, run_id: str, node: str) -> str:
        """Return the command that prints the log of a custom job."""
        return f"gcloud ai custom-jobs stream-logs {node}"

    def describe_logs(self, run_id: str) -> tuple[str, ...]:
        """Tell where the logs of a whole run are."""
        return (f"the logs are in Cloud Logging; the page shows them task by task: {self.run_url(run_id)}",)

    def _ask(self, method: str, path: str, subject: str, **options: Any) -> dict[str, Any]:
        """Return the answer to one request.

        Raises:
            ClusterError: It fails; one line with the next step.
        """
        where = f"{self.endpoint}: {subject}"
        try:
            answer = self.session.request(method, f"{self.endpoint}/v1/{path}", timeout=TIMEOUT_S, **options)
        except GoogleAuthError as error:
            raise ClusterError(f"{where}: no usable Google credentials: {shorten(error)}; {STEPS[401]}") from None
        except RequestException as error:
            reason = next((getattr(one, "reason", one) for one in error.args), error)
            raise UnavailableError(
                f"{where}: no connection: {shorten(reason)}; check --region, then try again"
            ) from None
        if not answer.ok:
            raise _explain(answer, where)
        try:
            return dict(answer.json())
        except ValueError:
            raise ClusterError(f"{where}: answered with something else than JSON; check {OVERRIDE}") from None


def connect_vertex(project: str | None = None, region: str | None = None) -> Vertex:
    """Find project, region and credentials; nothing is asked yet.

    Raises:
        ClusterError: One of them is missing.
    """
    region = region or os.environ.get(REGION)
    if not region:
        raise ClusterError(f"--region: missing; expected one such as europe-west4, or set {REGION}")
    endpoint = os.environ.get(OVERRIDE, f"https://{region}-aiplatform.googleapis.com").rstrip("/")
    if not is_private(endpoint):
        raise ClusterError(f"{OVERRIDE} {endpoint}: credentials would be sent in the clear; use https://")
    try:
        credentials, own_project = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        raise ClusterError(f"{endpoint}: no usable Google credentials: {shorten(error)}; {STEPS[401]}") from None
    project = project or os.environ.get(PROJECT) or own_project
    if not project:
        raise ClusterError(f"--project: missing; expected the id of a project of Google Cloud, or set {PROJECT}")
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    return Vertex(project, region, endpoint, session)


def connect_vertex_of(run_id: str) -> Vertex:
    """Return where a run is, by its id.

    Raises:
        ClusterError: The id cannot be that of a run, or credentials are missing.
    """
    found = RUN_NAME.fullmatch(run_id)
    if found is None:
        raise ClusterError(f"run {run_id!r}: expected projects/PROJECT/locations/REGION/pipelineJobs/ID")
    return connect_vertex(found[1], found[2])


def to_run(job: Mapping[str, Any]) -> V2beta1Run:
    """Return a run in the form of Kubeflow Pipelines."""
    return V2beta1Run(
        run_id=job["name"],
        display_name=job.get("displayName"),
        state=_translate(job.get("state", "")),
        created_at=_read_time(job, "createTime"),
        error=_read_error(job),
        pipeline_spec=job.get("pipelineSpec"),
        run_details=V2beta1RunDetails(task_details=list(_read_tasks(job.get("jobDetail", {}).get("taskDetails", [])))),
    )


def _read_tasks(details: list[Mapping[str, Any]]) -> Iterator[V2beta1PipelineTaskDetail]:
    """Yield the tasks; a job of its own stands in the place of a pod."""
    jobs = {detail["taskId"]: _name_job(detail) for detail in details}
    for detail in details:
        children = [jobs[one["taskId"]] for one in details if one.get("parentTaskId") == detail["taskId"]]
        yield V2beta1PipelineTaskDetail(
            display_name=detail.get("taskName"),
            task_id=detail["taskId"],
            state=_translate(detail.get("state", "")),
            start_time=_read_time(detail, "startTime"),
            end_time=_read_time(detail, "endTime"),
            error=_read_error(detail),
            pod_name=jobs[detail["taskId"]],
            child_tasks=[PipelineTaskDetailChildTask(pod_name=name) for name in children],
        )


def _name_job(detail: Mapping[str, Any]) -> str:
    """Return the custom job that a task is; for one that is none, such as a group, its id."""
    executor = detail.get("executorDetail", {})
    name = executor.get("containerDetail", {}).get("mainJob") or executor.get("customJobDetail", {}).get("job")
    return str(name or detail["taskId"])


def _translate(state: str) -> str:
    name = state.removeprefix(STATE_PREFIX)
    return STATES.get(name, name)


def _read_time(held: Mapping[str, Any], name: str) -> datetime | None:
    return datetime.fromisoformat(held[name]) if held.get(name) else None


def _read_error(held: Mapping[str, Any]) -> GoogleRpcStatus | None:
    error = held.get("error")
    return GoogleRpcStatus(code=error.get("code"), message=error.get("message")) if error else None


def _filter(wanted: Wanted) -> Iterator[str]:
    if wanted.experiment:
        raise ClusterError("--experiment: Vertex AI Pipelines lists runs by --state and --name")
    if wanted.name:
        if set(wanted.name) & set('"\\*'):
            raise ClusterError(f'--name {wanted.name}: expected no ", \\ or *')
        yield f'displayName:"*{wanted.name}*"'
    if wanted.state:
        state = check_state(wanted.state)
        theirs = {"CANCELED": "CANCELLED", "CANCELING": "CANCELLING"}.get(state, state)
        yield f'state="{STATE_PREFIX}{theirs}"'


def _explain(answer: Response, where: str) -> ClusterError:
    status = answer.status_code
    try:
        told = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        told = answer.reason
    step = STEPS.get(min(status, SERVER_FAILURE), f"check {OVERRIDE}: this may not be the API of Vertex AI")
    message = f"{where}: {shorten(told)} ({status}); {step}"
    if status == OVERLOADED or status >= SERVER_FAILURE:
        return UnavailableError(message)
    return MissingError(message) if status == 404 else ClusterError(message)
