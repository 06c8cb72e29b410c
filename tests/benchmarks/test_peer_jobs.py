import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import peer_jobs
from benchmarks.peer_jobs import BenchmarkError, Job, System, list_our_jobs, list_peer_jobs, run_job
from benchmarks.peer_settings import Setting

WRITES_A_RUN = """
import sys
from pathlib import Path
import numpy as np
split, result, setting = sys.argv[1:]
with Path("runs.txt").open("a") as file:
    file.write(setting)
ranks = np.ones((1, 2), np.int64)
curve = np.array([[1, 0.5, 1.0, 2.0, 0.1, 1]])
facts = '{"versions": {}, "chosen": {}, "cut_short": false}'
np.savez(result, curve=curve, numbers=np.ones(3), facts=np.array(facts), validation=ranks, test=ranks)
"""


def make_job(folder: Path, source: str, **values: Any) -> Job:
    (folder / "toy_module.py").write_text(source)
    return Job(System.RECBOLE, Setting("a, b", "a test"), "toy_module", Path(sys.executable), values)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "split.npz").write_bytes(b"split")
    monkeypatch.setattr(peer_jobs, "ROOT", tmp_path)
    return tmp_path


def test_a_finished_run_is_kept_until_its_job_changes(place: Path) -> None:
    folder = place / "job"
    job = make_job(place, WRITES_A_RUN, rate=1)
    for resume in (False, True):
        assert run_job(job, place / "split.npz", folder, 1, resume).curve[0].ndcg == 0.5
    assert (folder / "runs.txt").read_text() == '{"rate": 1}'
    run_job(make_job(place, WRITES_A_RUN, rate=2), place / "split.npz", folder, 1, resume=True)
    assert (folder / "runs.txt").read_text() == '{"rate": 2}'


def test_a_run_that_was_cut_short_gets_its_folder_back_if_asked(place: Path) -> None:
    folder = place / "job"
    with pytest.raises(BenchmarkError):
        run_job(make_job(place, "open('half', 'w'); raise SystemExit(1)"), place / "split.npz", folder, 1)
    job = make_job(place, WRITES_A_RUN)
    run_job(job, place / "split.npz", folder, 1, resume=True)
    assert (folder / "half").is_file()
    run_job(job, place / "split.npz", folder, 1)
    assert not (folder / "half").exists()


def test_a_failure_shows_the_end_of_the_log(place: Path) -> None:
    job = make_job(place, "print('before'); raise SystemExit('no such thing')")
    with pytest.raises(BenchmarkError, match=r"recbole-a-b: exit code 1.*\nbefore\nno such thing"):
        run_job(job, place / "split.npz", place / "job", 1)


def test_a_quick_run_has_one_short_training_a_system() -> None:
    jobs = [*list_our_jobs(list(System), Path("s"), Path("e"), 7, True)]
    jobs += list_peer_jobs(list(System), Path("python"), 7, True)
    assert [job.system for job in jobs] == list(System)
    assert all(job.values["seed"] == 7 for job in jobs)
    assert [job.values.get("epochs", job.values.get("epochs_per_stage")) for job in jobs] == [2, 2, 2, 2]


def test_each_peer_has_its_documented_setting_and_three_tuned_ones() -> None:
    names = [(job.system, job.setting.name) for job in list_peer_jobs(list(System), Path("python"), 7, False)]
    assert len(names) == len(set(names))
    for system in (System.RECBOLE, System.RECTOOLS):
        assert sum(name == system for name, _ in names) >= 4
