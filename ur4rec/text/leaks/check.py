"""The check whether user texts know what they should not: exact for our own, by an effect size for imported ones."""

from __future__ import annotations

import json
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from pydantic import BaseModel

from ur4rec.columns import AS_OF
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.text.artifact import IMPORTED, LEAK, LeakError, load_texts
from ur4rec.text.imports import NO_USERS, import_users
from ur4rec.text.leaks.naming_effect import MIN_USERS, THRESHOLD, NamingEffect, measure_naming
from ur4rec.text.snapshots import move_to_group_ends

MAX_LISTED = 5
"""This many violations are described one by one."""


class Provenance(BaseModel, frozen=True, extra="forbid"):
    """What is known exactly about our own texts."""

    num_texts: int
    num_violations: int
    """This many texts are not written from a whole, visible part of the training prefix."""
    violations: tuple[str, ...]
    """The first few violations, described."""


class LeakReport(BaseModel, frozen=True, extra="forbid"):
    """The outcome of the check."""

    source: str
    threshold: float = THRESHOLD
    provenance: Provenance | None
    """The provenance of our own texts, or none if there are none."""
    own: NamingEffect | None
    """The effect in our own texts, if it was asked for; it is for information, because their provenance decides."""
    imported: NamingEffect | None
    """The effect in imported texts, or none if there are none or nothing in them could be recognised."""

    @property
    def passed(self) -> bool:
        """Return whether nothing leaks, as far as the check can tell."""
        is_exact = self.provenance is None or not self.provenance.num_violations
        return is_exact and not (self.imported and self.imported.is_leak)

    @property
    def verdict(self) -> str:
        """Say the outcome in words; nothing is claimed about what could not be judged."""
        if not self.passed:
            return LEAK
        if self.imported and not self.imported.is_conclusive:
            return f"cannot be judged: fewer than {MIN_USERS} users with a text and a held-out item to look for"
        if not (self.provenance or self.imported):
            return "cannot be judged: no user has a held-out item with a title that can be recognised"
        return "no leak found"

    def raise_for_leaks(self) -> None:
        """Raise unless the check passed.

        Raises:
            LeakError: The texts leak; `describe_leaks` tells the statistic.
        """
        if not self.passed:
            raise LeakError(
                f"{self.source}: the texts know what they should not; write them from the training prefix alone, or "
                f"import them with the {AS_OF} they were made at"
            )


def check_leaks(sequences: Path, texts: Path | None = None, user_text: Path | None = None) -> LeakReport:
    """Check a folder of texts, or a file of user texts that is about to be imported.

    Args:
        sequences: Folder written by `preprocess_sequences`.
        texts: Folder written by `generate_text` from these sequences.
        user_text: JSON or parquet file of user texts, as `generate_text` imports it.

    Raises:
        ValueError: Not exactly one of `texts` and `user_text` is given.
        ArtifactError: A folder is incomplete or altered, or the texts belong to other sequences.
        TextImportError: The file of texts cannot be used.
    """
    if (texts is None) == (user_text is None):
        raise ValueError("give either a folder of texts or a file of user texts")
    data = load_sequences(Path(sequences))
    if texts is not None:
        return _check_folder(data, Path(texts))
    assert user_text is not None
    users = import_users(Path(user_text), data.user_ids, data.histories("validation"))
    return judge_texts(data, NO_USERS.points, (users.points, users.texts), str(user_text))


def describe_leaks(report: LeakReport) -> str:
    """Tell the report in a few lines, the verdict first."""
    lines = [f"{report.source}: {report.verdict}"]
    if own := report.provenance:
        num_exact = own.num_texts - own.num_violations
        lines.append(
            f"own texts: {num_exact:,} of {own.num_texts:,} are written from the training prefix alone (exact)"
        )
        lines += [f"  {violation}" for violation in own.violations]
    for what, effect in (("own texts", report.own), ("imported texts", report.imported)):
        if effect:
            low, high = effect.difference_ci95
            lines += [
                f"{what}: {effect.num_texts:,} texts of {effect.num_users:,} users name {effect.held_out_rate:.2%} of "
                f"what is held out, {effect.control_rate:.2%} of untouched items as popular",
                f"  difference {effect.difference:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}]; "
                f"a leak where all of it is above {report.threshold}",
            ]
    return "\n".join(lines)


def write_report(report: LeakReport, path: Path) -> None:
    """Write verdict and report as JSON; the file appears complete or not at all."""
    content = {"passed": report.passed, "verdict": report.verdict} | report.model_dump(mode="json")
    write_text_atomic(Path(path), json.dumps(content, indent=2) + "\n")


def judge_texts(
    data: Sequences, own: Int64[np.ndarray, "X 2"], imported: tuple[Int64[np.ndarray, "Y 2"], Seq[str]], source: str
) -> LeakReport:
    """Judge texts by what decides: the provenance of our own, and what imported ones name.

    Args:
        data: The data set that the texts are about.
        own: User index and `as_of` of our own texts.
        imported: User index and `as_of` of imported texts, and the texts.
        source: The report calls the texts by this name.
    """
    provenance = _check_provenance(own, data) if len(own) else None
    return LeakReport(source=source, provenance=provenance, own=None, imported=measure_naming(data, *imported))


def _check_folder(data: Sequences, folder: Path) -> LeakReport:
    texts = load_texts(folder, data)
    is_imported = np.array([source == IMPORTED for source in texts.sources], dtype=bool)
    own, imported = (
        (texts.points[rows], [texts.snapshots[row] for row in rows.tolist()])
        for rows in (np.flatnonzero(~is_imported), np.flatnonzero(is_imported))
    )
    report = judge_texts(data, own[0], imported, str(folder))
    return report.model_copy(update={"own": measure_naming(data, *own)})


def _check_provenance(points: Int64[np.ndarray, "X 2"], data: Sequences) -> Provenance:
    """Check that each text was written from a part `[0, as_of)` that precedes every target that may see the text.

    The targets are the validation and test items and, in training, the interactions from `as_of` on. So `as_of` lies
    within the training prefix, and not inside a group of equal timestamps, whose order training does not keep.
    """
    histories = data.histories("validation")
    longest = histories.lengths[points[:, 0]]
    is_inside = (points[:, 1] >= 1) & (points[:, 1] <= longest)
    splits_group = np.zeros(len(points), dtype=bool)
    splits_group[is_inside] = (move_to_group_ends(points[is_inside], histories) != points[is_inside]).any(axis=1)
    rows = np.flatnonzero(splits_group | ~is_inside)
    violations = tuple(
        f"user {data.user_ids[points[row, 0]]!r}, {AS_OF} {points[row, 1]}: "
        + ("inside a group of equal timestamps" if splits_group[row] else f"expected 1 to {longest[row]}, the prefix")
        for row in rows[:MAX_LISTED]
    )
    return Provenance(num_texts=len(points), num_violations=len(rows), violations=violations)
