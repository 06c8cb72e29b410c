"""The cases a gate must get right, each with real models on data whose answer is known."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chain_models import CONFIG, SeenItems, make_rules, rewrite_manifest, write_chain_model, write_model, write_ring
from present import present

from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.models.cooccurrence import NeighborTables
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.registry.gate.comparison import AGAINST_CHAMPION, AS_SERVED, Contender, Findings, compare
from ur4rec.registry.gate.verdict import RuleOutcome, decide

HALF = range(1, 21)
"""What the champion knows: half of the targets, so its NDCG@10 is 0.5."""
Challenge = Callable[..., tuple[dict[str, RuleOutcome], str, Findings]]
NO_SLICES = {"min_slice_users": 1000}


@pytest.fixture(scope="session")
def champion(ring: Path, tmp_path_factory: pytest.TempPathFactory) -> Contender:
    return write_chain_model(ring, tmp_path_factory.mktemp("models") / "1", HALF)


@pytest.fixture
def challenge(ring: Path, ring_data: Sequences, champion: Contender, tmp_path: Path) -> Challenge:
    """Judges a model that knows some targets against the champion; gives the outcome of every rule, and the verdict."""

    def run(
        known: Collection[int], anchor: None = None, **overrides: Any
    ) -> tuple[dict[str, RuleOutcome], str, Findings]:
        challenger = write_chain_model(ring, tmp_path / "2", known)
        return judge(ring_data, challenger, champion, anchor, **overrides)

    return run


def judge(
    data: Sequences,
    challenger: Contender,
    champion: Contender | None,
    anchor: Contender | None = None,
    **overrides: Any,
) -> tuple[dict[str, RuleOutcome], str, Findings]:
    findings = compare(data, challenger, champion, anchor, make_rules(**overrides))
    return {each.rule: each for each in findings.outcomes}, decide(findings.outcomes), findings


def failed(outcomes: dict[str, RuleOutcome]) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome.failed}


def test_a_better_challenger_passes(challenge: Challenge) -> None:
    outcomes, verdict, findings = challenge(range(1, 31))
    assert (verdict, failed(outcomes)) == ("passed", set())
    assert outcomes["floor"].value == pytest.approx(0.75)
    assert present(outcomes["champion"].value) > 0.3
    assert (findings.num_users, findings.population) == (400, "unseen")


def test_an_equal_challenger_passes(challenge: Challenge) -> None:
    # As good as the champion, but for other users: a fortieth of the targets is exchanged.
    outcomes, verdict, _ = challenge([*range(2, 21), 30], **NO_SLICES)
    assert verdict == "passed"
    assert -0.1 < present(outcomes["champion"].value) < 0


def test_slightly_worse_inside_the_margin_passes(
    challenge: Challenge,
) -> None:
    outcomes, verdict, _ = challenge(range(2, 21), **NO_SLICES)
    assert verdict == "passed"
    assert -0.1 < present(outcomes["champion"].value) < -0.05


def test_worse_outside_the_margin_fails(challenge: Challenge) -> None:
    outcomes, verdict, _ = challenge(range(4, 21))
    assert verdict == "failed"
    assert "champion" in failed(outcomes)
    assert present(outcomes["champion"].value) < -0.15


def test_the_margin_is_what_the_rules_say(
    challenge: Challenge,
) -> None:
    outcomes, verdict, _ = challenge(range(4, 21), margin_by_users={0: 0.4}, **NO_SLICES)
    assert (verdict, failed(outcomes)) == ("passed", set())


def test_better_overall_but_a_slice_collapses_fails(ring: Path, ring_data: Sequences, tmp_path: Path) -> None:
    # Users with long histories have the targets 31 to 40, some of them rare; the challenger knows twice as many others.
    champion = write_chain_model(ring, tmp_path / "1", [*range(1, 6), *range(31, 41)])
    challenger = write_chain_model(ring, tmp_path / "2", range(1, 31))
    outcomes, verdict, _ = judge(ring_data, challenger, champion)
    assert verdict == "failed"
    assert failed(outcomes) == {"slice_heavy_users", "slice_long_tail_items"}
    assert present(outcomes["champion"].value) > 0.5
    assert outcomes["slice_heavy_users"].value == -1
    assert outcomes["slice_cold_users"].outcome == "passed"


def test_a_tie_in_everything_passes(ring_data: Sequences, champion: Contender) -> None:
    outcomes, verdict, _ = judge(ring_data, Contender("2", champion.bundle), champion)
    assert (verdict, failed(outcomes)) == ("passed", set())
    assert outcomes["champion"].value == 0
    assert all(outcome.value == 0 for rule, outcome in outcomes.items() if rule.startswith("slice_"))


@pytest.fixture
def repeating(ring_data: Sequences) -> Sequences:
    """The same users, of whom half choose once more what they had second to last."""
    test, seen = np.array(ring_data.test), ring_data.histories("test")
    test[::2, 1] = seen.items[seen.offsets[test[::2, 0] + 1] - 2]
    return replace(ring_data, test=test)


def write_repeater(ring: Path, folder: Path, seen_items: SeenItems) -> Contender:
    """A model that knows what is next on the ring, and what was there before."""
    data = load_sequences(ring)
    index = {name: number for number, name in enumerate(data.item_ids)}
    walk = [index[f"i{number:03}"] for number in range(1, data.num_items + 1)]
    model = UR4RecV2MoE(data.num_items, data.num_users, CONFIG.model_copy(update={"seen_items": seen_items}))
    neighbors = torch.zeros(1, data.num_items + 1, 2, dtype=torch.int32)
    for place, item in enumerate(walk):
        neighbors[0, item] = torch.tensor([walk[place - 1], walk[(place + 1) % len(walk)]])
    assert model.cooccurrence is not None
    model.cooccurrence.fill(NeighborTables(neighbors, torch.ones_like(neighbors, dtype=torch.float)))
    return write_model(ring, folder, model)


def test_models_of_one_rule_are_measured_by_it(ring: Path, repeating: Sequences, tmp_path: Path) -> None:
    rules: list[tuple[SeenItems, float | None]] = [("exclude", 1.0), ("include", None)]
    for rule, ndcg in rules:
        champion = write_repeater(ring, tmp_path / f"1-{rule}", rule)
        outcomes, verdict, findings = judge(repeating, Contender("2", champion.bundle), champion)
        assert verdict == "passed"
        assert outcomes["champion"].value == 0
        assert ndcg is None or outcomes["floor"].value == pytest.approx(ndcg)
        assert AS_SERVED not in findings.notes
        told = [note for note in findings.notes if note.startswith("challenger version 2")]
        assert ("seen items included" in told[0]) == (rule == "include")


def test_models_of_different_rules_are_measured_as_they_serve(ring: Path, repeating: Sequences, tmp_path: Path) -> None:
    hiding = write_repeater(ring, tmp_path / "1", "exclude")
    showing = write_repeater(ring, tmp_path / "2", "include")
    outcomes, verdict, findings = judge(repeating, hiding, showing)
    assert (verdict, "champion" in failed(outcomes)) == ("failed", True)
    # Half of the targets are what the challenger would not show; it has the other half on the first place.
    assert outcomes["floor"].value == pytest.approx(0.5)
    assert AS_SERVED in findings.notes
    outcomes, verdict, _ = judge(repeating, showing, hiding)
    assert (verdict, failed(outcomes)) == ("passed", set())
    assert present(outcomes["champion"].value) > 0.3


def test_showing_what_was_seen_without_need_fails(ring: Path, ring_data: Sequences, tmp_path: Path) -> None:
    # No target is a repeat here: what was before on the ring only takes places.
    hiding = write_repeater(ring, tmp_path / "1", "exclude")
    outcomes, verdict, _ = judge(ring_data, write_repeater(ring, tmp_path / "2", "include"), hiding)
    assert (verdict, "champion" in failed(outcomes)) == ("failed", True)


def test_a_first_model_passes_on_the_floor_alone(ring_data: Sequences, champion: Contender) -> None:
    outcomes, verdict, _ = judge(ring_data, champion, None)
    assert verdict == "passed"
    assert outcomes["floor"].outcome == outcomes["floor_over_popularity"].outcome == "passed"
    for rule in AGAINST_CHAMPION:
        assert outcomes[rule].outcome == "skipped: there is no champion to compare with"
    assert outcomes["anchor"].outcome == "skipped: no version has the anchor's alias"
    assert judge(ring_data, champion, None, floor_ndcg_at_10=0.51)[1] == "failed"


def test_a_first_model_no_better_than_popularity_fails(ring: Path, ring_data: Sequences, tmp_path: Path) -> None:
    outcomes, verdict, _ = judge(ring_data, write_chain_model(ring, tmp_path / "1", []), None)
    assert verdict == "failed"
    assert "floor_over_popularity" in failed(outcomes)


def test_many_small_losses_are_stopped_by_the_anchor(
    ring: Path, ring_data: Sequences, champion: Contender, tmp_path: Path
) -> None:
    # Each model forgets one target: every step is inside the margin, the third is outside that of the anchor.
    verdicts, previous = [], champion
    for number in range(2, 5):
        challenger = write_chain_model(ring, tmp_path / str(number), range(number, 21))
        outcomes, verdict, _ = judge(ring_data, challenger, previous, champion, **NO_SLICES)
        verdicts.append((verdict, failed(outcomes)))
        previous = challenger
    assert verdicts[0] == ("passed", set())
    assert verdicts[-1] == ("failed", {"anchor"})


def test_a_model_whose_weights_are_nan_fails(ring_data: Sequences, champion: Contender, tmp_path: Path) -> None:
    broken = copy_bundle(champion, tmp_path / "2")
    break_weights(present(broken.bundle))
    outcomes, verdict, _ = judge(ring_data, broken, champion)
    assert verdict == "failed"
    told = outcomes["challenger_scored"].detail
    assert f"{broken.bundle}/final_model.pt: cooccurrence.strengths: holds NaN or an infinity" in told


@pytest.mark.parametrize(("rule", "verdict"), [("fail", "failed"), ("floor_only", "passed")])
@pytest.mark.parametrize("damage", ["weights gone", "other schema", "nan", "other catalogue", "artifacts gone"])
def test_a_champion_that_cannot_be_scored_is_named_and_the_rule_decides(
    ring_data: Sequences, champion: Contender, tmp_path: Path, damage: str, rule: str, verdict: str
) -> None:
    challenger = Contender("2", champion.bundle)
    outcomes, decided, findings = judge(
        ring_data, challenger, damaged(champion, damage, tmp_path), champion_unscorable=rule
    )
    assert decided == verdict
    assert any("champion version 1 was not scored: " in note for note in findings.notes)
    if rule == "fail":
        assert failed(outcomes) == {"champion_scored"}
        assert outcomes["champion_scored"].detail.endswith("; champion_unscorable: fail")
    else:
        assert outcomes["champion"].outcome.startswith("skipped: champion version 1 cannot be scored: ")
        assert outcomes["floor"].outcome == "passed"


def damaged(champion: Contender, damage: str, folder: Path) -> Contender:
    if damage == "artifacts gone":
        return Contender("1", problem="its artifacts are gone")
    if damage == "other catalogue":
        films = write_ring(folder / "films", prefix="film")
        return write_model(films, folder / "1", UR4RecV2MoE(40, 400, CONFIG))
    copy = copy_bundle(champion, folder / "1")
    if damage == "weights gone":
        (present(copy.bundle) / "final_model.pt").unlink()
    elif damage == "other schema":
        path = present(copy.bundle) / "manifest.json"
        path.write_text(path.read_text().replace('"schema_version":1', '"schema_version":2'))
    else:
        break_weights(present(copy.bundle))
    return copy


def copy_bundle(contender: Contender, folder: Path) -> Contender:
    shutil.copytree(present(contender.bundle), folder / "bundle")
    rewrite_manifest(folder / "bundle")
    return Contender(folder.name, folder / "bundle")


def break_weights(bundle: Path) -> None:
    state = torch.load(bundle / "final_model.pt", weights_only=True)
    state["cooccurrence.strengths"][:] = torch.nan
    torch.save(state, bundle / "final_model.pt")
    rewrite_manifest(bundle)


def test_other_test_data_than_the_pinned_is_refused_unscored(ring_data: Sequences, champion: Contender) -> None:
    outcomes, verdict, findings = judge(ring_data, champion, None, test_digest="0" * 64)
    assert verdict == "failed"
    assert list(outcomes) == ["test_data"]
    assert findings.population == "none"
    assert judge(ring_data, champion, None, test_digest=ring_data.digest)[0]["test_data"].outcome == "passed"


def test_a_grown_catalogue_costs_the_champion_what_it_cannot_recommend(champion: Contender, tmp_path: Path) -> None:
    # Today there are 50 items and 500 users; of the champion's 20 targets, 19 follow on an item it knows.
    grown = write_ring(tmp_path, num_items=50)
    data = load_sequences(grown)
    challenger = write_chain_model(grown, tmp_path / "2", range(1, 51))
    outcomes, verdict, findings = judge(data, challenger, champion)
    assert verdict == "passed"
    assert outcomes["floor"].value == 1
    assert "champion version 1: NDCG@10 0.3800" in " ".join(findings.notes)
    assert "knows 40 of 50 items" in " ".join(findings.notes)


def test_few_users_decide_nothing(ring_data: Sequences, champion: Contender) -> None:
    outcomes, verdict, _ = judge(ring_data, champion, None, min_users=401)
    assert (verdict, failed(outcomes)) == ("failed", {"users"})
    assert outcomes["users"].value == 400


def test_few_later_users_and_the_floor_only(ring_data: Sequences, champion: Contender) -> None:
    outcomes, verdict, _ = judge(ring_data, Contender("2", champion.bundle), champion, few_later_users="floor_only")
    assert verdict == "passed"
    assert outcomes["champion"].outcome.startswith("skipped: only ")
    assert outcomes["floor"].outcome == "passed"
    assert judge(ring_data, champion, None, few_later_users="fail")[1] == "failed"


def test_enough_later_users_are_the_only_ones_ranked(ring_data: Sequences, champion: Contender, tmp_path: Path) -> None:
    # Targets of the last arrivals are later than this cutoff.
    earlier = copy_bundle(champion, tmp_path / "1")
    cutoff = int(np.median(ring_data.test[:, 2]))
    rewrite_manifest(present(earlier.bundle), training_cutoff_s=cutoff)
    later = int((ring_data.test[:, 2] > cutoff).sum())
    _, verdict, findings = judge(ring_data, earlier, None, min_users=50)
    assert (verdict, findings.population, findings.num_users) == ("passed", "later", later)


def test_what_training_saw_is_not_ranked(ring: Path, ring_data: Sequences, champion: Contender, tmp_path: Path) -> None:
    # Training of this one saw every interaction of every fourth user.
    knowing = copy_bundle(champion, tmp_path / "2")
    arrays = dict(np.load(present(knowing.bundle) / "histories.npz"))
    arrays["training_lengths"][4::4] = np.diff(arrays["offsets"])[4::4]
    np.savez(present(knowing.bundle) / "histories.npz", **arrays)
    rewrite_manifest(present(knowing.bundle))
    _, _, findings = judge(ring_data, knowing, champion)
    assert (findings.population, findings.num_users) == ("unseen", 300)
