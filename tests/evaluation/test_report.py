import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_views import ODD_NAMES, as_shown, list_tags, read_page

from ur4rec.evaluation.baselines import BASELINES
from ur4rec.evaluation.history import HISTORY, Epoch, HistoryError, TrainingHistory
from ur4rec.evaluation.report import render_comparison, render_report, write_curves
from ur4rec.evaluation.results import Results
from ur4rec.models.config import ModelConfig
from ur4rec.ranking.lists import LIST_METRICS
from ur4rec.storage.artifacts import write_artifact

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects elements; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def find(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(measured: tuple[Results, TrainingHistory]) -> str:
    return render_report(*measured)


def test_the_page_is_well_formed_and_self_contained(text: str) -> None:
    page = Page(text)
    links = [value for _, attributes in page.elements for key, value in attributes.items() if key in {"src", "href"}]
    assert links
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in links)
    assert not page.find("script")
    assert not page.find("link")
    assert "url(" not in text
    assert "@import" not in text


def test_links_within_the_page_lead_somewhere(text: str) -> None:
    page = Page(text)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert {attributes["href"][1:] for attributes in page.find("a")} <= set(names)


def test_images_and_tables_can_be_read_without_seeing_them(
    text: str, measured: tuple[Results, TrainingHistory]
) -> None:
    results, _ = measured
    page = Page(text)
    images = page.find("img")
    assert len(images) == 3
    assert all(len(image["alt"]) > 40 for image in images)
    assert f"{results.test['sasrec']['ndcg@10'].value:.4f}" in images[0]["alt"]
    assert all("scope" in header for header in page.find("th"))
    assert len(page.find("caption")) == len(page.find("table"))
    assert page.find("html")[0]["lang"] == "en"


def test_figures_load_nothing_either(text: str) -> None:
    for image in Page(text).find("img"):
        svg = base64.b64decode(image["src"].partition("base64,")[2]).decode()
        assert "<svg" in svg
        assert not re.search(r'href="(?!#)', svg)


def test_numbers_are_those_of_the_results(text: str, measured: tuple[Results, TrainingHistory]) -> None:
    results, _ = measured
    for metrics in results.test.values():
        for item in metrics.values():
            assert f"{item.value:.4f}" in text
            assert f"{item.ci95[0]:.4f}–{item.ci95[1]:.4f}" in text
    for part in results.slices:
        assert f"<td>{part.num_users}</td>" in text
    assert results.dataset.digest in text
    assert "bootstrap_samples: 100" in text


def test_what_the_lists_come_to_is_a_table_and_every_metric_is_explained(
    text: str, measured: tuple[Results, TrainingHistory]
) -> None:
    results, history = measured
    table = text.partition('aria-label="Metrics of the lists')[2].partition("</table>")[0]
    for system, figures in results.lists.items():
        assert list(figures) == [metric.name for metric in LIST_METRICS]
        assert f'<th scope="row">{system}</th>' in table
        for figure in figures.values():
            assert f"<td>{figure.value:.4f}" in table
            assert figure.ci95 is None or f"<small>{figure.ci95[0]:.4f}–{figure.ci95[1]:.4f}</small>" in table
    for label in ("HIT@k", "NDCG@k", "MRR", *(metric.name.upper() for metric in LIST_METRICS)):
        assert f"<dt>{label}</dt>" in text
    assert "Metrics of the lists" not in render_report(results.model_copy(update={"lists": {}}), history)


def test_every_system_is_described_as_what_it_is(text: str, measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    for name in ("recency_ease", "popularity"):
        assert f"<dt>{name}</dt>\n<dd>{BASELINES[name].description}.</dd>" in text
    assert text.count("The evaluated model") == 1
    other = {"test": results.test | {"other": results.test["popularity"]}, "slices": []}
    page = render_report(results.model_copy(update=other), history)
    assert "<dt>other</dt>\n<dd>A system that this release does not know.</dd>" in page
    assert page.count("The evaluated model") == 1
    alone = results.model_copy(update={"test": {"sasrec": results.test["sasrec"]}, "differences": {}})
    alone = alone.model_copy(update={"validation_systems": {}, "slices": []})
    assert "<dt>sasrec</dt>\n<dd>SASRec alone" in render_report(alone, history)


def test_slices_show_the_lead_over_the_best_other_system(text: str, measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    rival = max(results.differences, key=lambda name: results.test[name]["ndcg@10"].value)
    part = next(part for part in results.slices if part.by == "target_count")
    lead = part.differences[rival]["ndcg@10"]
    table = text.partition('aria-label="NDCG@10 by slice"')[2].partition("</table>")[0]
    assert f'<th scope="col">against {rival}</th>' in table
    assert f"{lead.value:+.4f}".replace("-", "−") in table
    assert f"targets by training interactions, {part.name}</th>" in table
    older = [part.model_copy(update={"differences": {}}) for part in results.slices]
    page = render_report(results.model_copy(update={"slices": older}), history)
    assert page.count("<td>–</td></tr>") == len(older)


def test_without_slices_there_is_no_figure_of_them(measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    assert "Dot plots" not in render_report(results.model_copy(update={"slices": []}), history)


def test_the_best_system_of_a_column_is_bold(text: str, measured: tuple[Results, TrainingHistory]) -> None:
    results, _ = measured
    best = max(item["mrr"].value for item in results.test.values())
    assert f"<strong>{best:.4f}</strong>" in text


def test_everything_from_data_is_escaped(measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    evil = "<script>alert('x')</script>$^&\""
    results = results.model_copy(
        update={
            "dataset": results.dataset.model_copy(update={"name": evil}),
            "config": {evil: evil},
            "notes": [evil],
            "memory": {evil: 1.0},
            "expert_weights": {evil: 0.5},
            "timings_s": {evil: 1.0},
            "versions": {evil: evil},
            "test": {f"{name}{evil}": values for name, values in results.test.items()},
            "differences": {f"{name}{evil}": values for name, values in results.differences.items()},
            "validation_systems": {f"{name}{evil}": values for name, values in results.validation_systems.items()},
            "slices": [
                part.model_copy(
                    update={
                        "test": {f"{name}{evil}": values for name, values in part.test.items()},
                        "expert_weights": {evil: 0.5},
                    }
                )
                for part in results.slices
            ],
        }
    )
    history = TrainingHistory(stages=[stage.model_copy(update={"stage": evil}) for stage in history.stages])
    text = render_report(results, history)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    Page(text)


def test_leave_one_out_carries_its_caveat(text: str, measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    assert "Caveat of leave-one-out" in text
    assert f"here {100 * results.dataset.later_interactions_share:.0f} % of the other users" in text
    by_time = results.model_copy(update={"protocol": results.protocol.model_copy(update={"split": "time"})})
    assert "Caveat of leave-one-out" not in render_report(by_time, history)


def test_the_verdict_follows_the_paired_interval(measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    rival = max(results.differences, key=lambda name: results.test[name]["ndcg@10"].value)
    lead = results.differences[rival]["ndcg@10"]
    for interval, phrase in (((0.01, 0.02), "excludes zero"), ((-0.01, 0.02), "includes zero")):
        changed = {"ndcg@10": lead.model_copy(update={"value": 0.015, "ci95": interval})}
        differences = results.differences | {rival: results.differences[rival] | changed}
        text = render_report(results.model_copy(update={"differences": differences}), history)
        assert f"leads <b>{rival}</b>" in text
        assert phrase in text


def test_few_seeds_are_said_to_be_few(text: str, measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    assert "one seed (5)" in text
    assert "noted no seed" in render_report(results.model_copy(update={"seeds": []}), history)
    many = results.model_copy(update={"seeds": [1, 2, 3, 4, 5]})
    assert "at least five seeds" not in render_report(many, history)


def test_parts_that_are_missing_are_left_out(measured: tuple[Results, TrainingHistory]) -> None:
    results, _ = measured
    name = results.model_name
    bare = results.model_copy(
        update={
            "test": {name: results.test[name]},
            "differences": {},
            "validation_systems": {},
            "memory": {},
            "expert_weights": {},
            "slices": [],
        }
    )
    text = render_report(bare, TrainingHistory(stages=[]))
    Page(text)
    assert "no memory" in text
    assert "no router" in text


def test_curves_with_gaps_are_drawn(measured: tuple[Results, TrainingHistory]) -> None:
    results, history = measured
    series = [Epoch(epoch=1, loss=float("nan")), Epoch(epoch=2), Epoch.model_validate({"epoch": 3, "ndcg@10": 0.1})]
    stages = [stage.model_copy(update={"series": series, "validation": {}}) for stage in history.stages]
    text = render_report(results, TrainingHistory(stages=stages))
    Page(text)
    assert all(stage.stage in text for stage in stages)


def test_equal_results_give_equal_bytes(text: str, measured: tuple[Results, TrainingHistory]) -> None:
    assert render_report(*measured) == text


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_full_of_markup_is_shown_as_it_is(
    measured: tuple[Results, TrainingHistory], text: str, name: str
) -> None:
    results, history = measured
    dataset = results.dataset.model_copy(update={"name": name})
    page = render_report(results.model_copy(update={"dataset": dataset, "notes": [name]}), history)
    assert list_tags(page) == list_tags(render_report(results.model_copy(update={"notes": ["a note"]}), history))
    assert f"on {as_shown(name)}" in read_page(page)


def test_the_curves_of_a_stage_are_a_page_of_their_own(tmp_path: Path) -> None:
    series = [{"epoch": epoch, "loss": 3.0 - epoch, "validation_loss": 3.1, "ndcg@10": 0.1 * epoch} for epoch in (0, 1)]
    stage = {"stage": "<b>joint", "seconds": 1.0, "epochs": 1, "best_epoch": 1, "validation": {"ndcg@10": 0.1}}
    (tmp_path / HISTORY).write_text(json.dumps({"stages": [stage | {"series": series}]}))
    write_curves(tmp_path, tmp_path / "curves.html")
    text = (tmp_path / "curves.html").read_text()
    page = Page(text)
    (image,) = page.find("img")
    assert image["src"].startswith("data:image/svg+xml;base64,")
    assert "<td>&lt;b&gt;joint</td><td>1</td><td>1</td><td>0.1000</td>" in text
    assert not page.find("script")
    assert len(text) < 2_000_000


def test_a_checkpoint_before_the_first_stage_has_no_curves(tmp_path: Path) -> None:
    with write_artifact(tmp_path / "checkpoint", "passed over", ModelConfig()):
        pass
    write_curves(tmp_path / "checkpoint", tmp_path / "curves.html")
    assert "no such stage" in (tmp_path / "curves.html").read_text()
    with pytest.raises(HistoryError, match="not found; expected a checkpoint folder"):
        write_curves(tmp_path / "nothing", tmp_path / "curves.html")


def test_the_comparison_has_a_row_for_each_system(measured: tuple[Results, TrainingHistory]) -> None:
    results, _ = measured
    rows = [line.split(" | ") for line in render_comparison(results).splitlines() if line.startswith("| ")][2:]
    assert [row[0].removeprefix("| ") for row in rows] == list(results.test)
    value = results.test[results.model_name]["ndcg@10"].value
    assert any(cell.startswith(f"{value:.4f} (") for cell in rows[0])
    for row in rows[1:]:
        ahead = results.differences[row[0].removeprefix("| ")]["ndcg@10"].value
        assert row[-1].startswith(f"{ahead:+.4f} (".replace("-", "\N{MINUS SIGN}"))
