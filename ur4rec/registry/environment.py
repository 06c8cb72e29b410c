"""Names in the environment of a task on a cluster; free of pydantic, so that `--help` loads nothing heavy."""

from __future__ import annotations

PIPELINE_RUN = "KFP_RUN_ID"
"""Variable of a task on a cluster that names its run; tasks of a run on this machine have none."""
LOCAL_RUN = "UR4REC_RUN_ID"
"""Variable of a task on this machine that names its run."""
RUN_OWNER = "UR4REC_RUN_OWNER"
"""Variable of it with the process that executes the run, as `name_process` names it."""
DEFAULTS = "ur4rec-defaults"
"""Config map of a cluster with what a run is not told."""
STATE = "UR4REC_STATE"
"""Key of it: the place for the state of unfinished stages."""
PUBLIC_TRACKING_URL = "UR4REC_PUBLIC_TRACKING_URL"
"""Key of it: where a person's browser finds MLflow, which pods know by another name."""
