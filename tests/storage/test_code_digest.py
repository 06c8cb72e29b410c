from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

import ur4rec
from ur4rec.storage.code_digest import CodeDigestError, code_digest, find_sources

TOY_FILES = {
    "__init__.py": "",
    "model.py": "from toy_package.layers import attention\n",
    "layers/__init__.py": "WIDTH = 3\n",
    "layers/attention.py": "import math\nfrom . import scale\nfrom .scale import factor\n",
    "layers/scale.py": "factor = 2\n",
    "report.py": (
        "from pathlib import Path\n"
        "TEMPLATE = Path(__file__).with_name('page.html')\n"
        "def render():\n"
        "    import toy_package.model\n"
        "def serve():\n"
        "    return Path(__file__).with_name('served.py')\n"
    ),
    "page.html": "<p>",
    "other.html": "<p>",
    "served.py": "from toy_package.lonely import value\n",
    "lonely.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy_package.text import Text\nvalue = 1\n"
    ),
    "text.py": "import toy_package\nimport numpy\n",
    "lost.py": "import toy_package.nowhere\n",
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "toy_package"
    for name, text in TOY_FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def names(*modules: str) -> set[str]:
    return {name.removeprefix("toy_package/") for name in find_sources(*modules)}


def test_follows_imports_and_the_packages_on_the_way(toy: Path) -> None:
    assert names("toy_package.model") == {
        "__init__.py",
        "model.py",
        "layers/__init__.py",
        "layers/attention.py",
        "layers/scale.py",
    }


def test_follows_imports_inside_functions_and_files_named_in_strings(toy: Path) -> None:
    found = names("toy_package.report")
    assert {"model.py", "layers/scale.py", "page.html", "served.py", "lonely.py"} <= found
    assert found.isdisjoint({"other.html", "text.py"})


def test_skips_what_only_a_type_checker_reads(toy: Path) -> None:
    assert names("toy_package.lonely") == {"__init__.py", "lonely.py"}


def test_imports_nothing_and_leaves_nothing(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code_digest("toy_package.report")
    assert not [name for name in sys.modules if name.startswith("toy_package")]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("changed", "model_moves", "report_moves", "text_moves"),
    [
        ("layers/scale.py", True, True, False),
        ("layers/__init__.py", True, True, False),
        ("page.html", False, True, False),
        ("other.html", False, False, False),
        ("text.py", False, False, True),
        ("__init__.py", True, True, True),
    ],
)
def test_a_changed_line_moves_what_depends_on_it_only(
    toy: Path, changed: str, model_moves: bool, report_moves: bool, text_moves: bool
) -> None:
    modules = ("toy_package.model", "toy_package.report", "toy_package.text")
    before = [code_digest(module) for module in modules]
    with (toy / changed).open("a") as file:
        file.write("# changed\n")
    moved = [code_digest(module) != old for module, old in zip(modules, before, strict=True)]
    assert moved == [model_moves, report_moves, text_moves]


def test_depends_on_neither_the_place_nor_the_order(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("toy_package.model", "toy_package.text")
    assert code_digest("toy_package.text", "toy_package.model") == before
    shutil.move(toy, tmp_path / "elsewhere" / "toy_package")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert code_digest("toy_package.model", "toy_package.text") == before


def test_a_renamed_module_moves_the_digest(toy: Path) -> None:
    before = code_digest("toy_package.model")
    (toy / "model.py").rename(toy / "model_two.py")
    assert code_digest("toy_package.model_two") != before


def test_the_version_is_part_of_it(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest("toy_package.model")
    monkeypatch.setattr("ur4rec.storage.code_digest.__version__", "9.9.9")
    assert code_digest("toy_package.model") != before


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("toy_package.nowhere", "toy_package.nowhere: no such module"),
        ("toy_package.lost", "toy_package.nowhere: no such module"),
        ("toy_package.broken", "broken.py: line 1"),
        ("no_such_package.module", "no_such_package.module: no such module"),
    ],
)
def test_errors_name_the_module(toy: Path, module: str, message: str) -> None:
    if "broken" in module:
        (toy / "broken.py").write_text("def f(:\n")
    with pytest.raises(CodeDigestError, match=message):
        code_digest(module)


def test_this_package_text_does_not_depend_on_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "copy" / "ur4rec"
    shutil.copytree(Path(ur4rec.__file__).parent, package)
    spec = importlib.util.spec_from_file_location(
        "ur4rec", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    modules = (
        "ur4rec.text.encode",
        "ur4rec.training.stages",
        "ur4rec.evaluation.evaluate",
        "ur4rec.registry.register",
    )
    before = [code_digest(module) for module in modules]
    with (package / "models" / "sasrec.py").open("a") as file:
        file.write("# changed\n")
    moved = [code_digest(module) != old for module, old in zip(modules, before, strict=True)]
    assert moved == [False, True, True, True]
