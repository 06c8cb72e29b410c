"""Imports have one direction: no module comes back to itself, imports inside functions included."""

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle, or nothing."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("ur4rec", "components", "pipelines", cache_dir=None)


def test_a_circle_is_found() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})


def test_no_module_imports_itself_by_a_detour(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert sum(map(len, imports.values())) > 1_000
    assert not find_circle(imports)


def test_imports_inside_functions_count(graph: grimp.ImportGraph) -> None:
    lines = graph.get_import_details(importer="ur4rec.commands.serving", imported="ur4rec.serving.http_server")
    assert [line["line_contents"].startswith("from") for line in lines] == [True]


def test_no_folder_of_the_library_imports_itself_by_a_detour(graph: grimp.ImportGraph) -> None:
    def folder(module: str) -> str:
        return ".".join(module.split(".")[:2])

    imports: dict[str, set[str]] = {}
    for module in graph.modules:
        if module.startswith("ur4rec."):
            below = {folder(name) for name in graph.find_modules_directly_imported_by(module) if "." in name}
            imports.setdefault(folder(module), set()).update(below - {folder(module)})
    assert not find_circle(imports)
