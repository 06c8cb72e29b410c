"""A digest of the source code that a task runs, so that a cache sees a changed line."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import grimp
from grimp.exceptions import SourceSyntaxError

from ur4rec import __version__
from ur4rec.storage.artifacts import sha256_file

NAMED_FILE = re.compile(r"""["'](\w[\w./-]*\.\w+)["']""")
"""A text that may be the path of a file beside the module that it stands in."""


class CodeDigestError(ValueError):
    """A module whose source cannot be found or read."""


def code_digest(*modules: str) -> str:
    """Return the sha256 over the package's version and the sources that modules, by their dotted names, need.

    Raises:
        CodeDigestError: A module does not exist, or the package holds what is not valid Python.
    """
    digest = hashlib.sha256(__version__.encode())
    for name, path in sorted(find_sources(*modules).items()):
        digest.update(f"\0{name}\0{sha256_file(path)}".encode())
    return digest.hexdigest()


def find_sources(*modules: str) -> dict[str, Path]:
    """Find every file of their package that the modules need; nothing is imported.

    Import statements are followed wherever they stand, also inside functions, but not under
    `if TYPE_CHECKING`. A file beside a module counts when the module names it in a string.

    Returns:
        Path within the package, with forward slashes → file.
    """
    package = modules[0].partition(".")[0]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _no_module(modules[0])
    around = Path(spec.submodule_search_locations[0]).parent
    graph = _build_graph(package)
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        if module not in graph.modules:
            raise _no_module(module)
        found[module] = file = _locate(around, module)
        text = file.read_text(encoding="utf-8")
        _refuse_lost_imports(text, package, graph)
        named = _find_named_files(text, file)
        found |= {str(path): path for path in named if path.suffix != ".py"}
        waiting += [_name_module(around, path) for path in named if path.suffix == ".py"]
        waiting += [*graph.find_modules_directly_imported_by(module), module.rpartition(".")[0] or package]
    return {path.relative_to(around).as_posix(): path for path in found.values()}


def _build_graph(package: str) -> grimp.ImportGraph:
    try:
        return grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    except SourceSyntaxError as error:
        raise CodeDigestError(f"{error.filename}: line {error.lineno}: not valid Python: {error.text}") from None


def _refuse_lost_imports(text: str, package: str, graph: grimp.ImportGraph) -> None:
    """Refuse an import of a module that there is not, which the graph leaves out without a word."""
    for module in re.findall(rf"^\s*(?:from|import)\s+({package}\.[\w.]+)", text, re.MULTILINE):
        if module not in graph.modules:
            raise _no_module(module)


def _locate(around: Path, module: str) -> Path:
    place = around.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _name_module(around: Path, file: Path) -> str:
    return ".".join(file.relative_to(around).with_suffix("").parts).removesuffix(".__init__")


def _find_named_files(text: str, file: Path) -> list[Path]:
    named = (file.parent / name for name in NAMED_FILE.findall(text) if ".." not in name)
    return [path for path in named if path.is_file()]


def _no_module(module: str) -> CodeDigestError:
    return CodeDigestError(f"{module}: no such module in package {module.partition('.')[0]!r}")
