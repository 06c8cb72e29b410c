"""Names of the training stages, free of pydantic, so that `--help` answers at once."""

from enum import StrEnum


class Stage(StrEnum):
    """The training stages, in order; `ur4rec.training.stages.stages_of` says which of them a system has."""

    PRETRAIN_SASREC = "pretrain_sasrec"
    PRETRAIN_RETRIEVER = "pretrain_retriever"
    JOINT_FINETUNE = "joint_finetune"
    END_TO_END = "end_to_end"


STAGES = tuple(stage.value for stage in Stage)
