"""A digest of the source code that a task runs, so that a cache sees a changed line."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ur4rec import __version__
from ur4rec.storage.artifacts import sha256_file

LONGEST_FILE_NAME = 120


class CodeDigestError(ValueError):
    """A module whose source cannot be found or read."""


def code_digest(*modules: str) -> str:
    """sha256 over the package's version and the sources that the modules need.

    Args:
        modules: Dotted names, for example `ur4rec.training.stages`.

    Raises:
        CodeDigestError: A module does not exist or is not valid Python.
    """
    digest = hashlib.sha256(__version__.encode())
    for name, path in sorted(find_sources(*modules).items()):
        digest.update(f"\0{name}\0{sha256_file(path)}".encode())
    return digest.hexdigest()


def find_sources(*modules: str) -> dict[str, Path]:
    """Every file of their own package that the modules need; nothing is imported.

    Import statements are followed wherever they stand, also inside functions, but not under
    `if TYPE_CHECKING`. A file beside a module counts when the module names it in a string.

    Args:
        modules: Dotted names of one package or several.

    Returns:
        Path within the package, with forward slashes → file.
    """
    sources: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        file = _locate(module)
        if file is None:
            raise CodeDigestError(f"{module}: no such module in package {_package_of(module)!r}")
        name = _name_within_package(file, module)
        if name in sources:
            continue
        sources[name] = file
        nodes = list(_walk(_parse(file)))
        waiting += filter(None, [module.rpartition(".")[0]])
        waiting += _find_imports(nodes, module, file)
        sources |= {_name_within_package(path, module): path for path in _find_named_files(nodes, file)}
    return sources


def _find_imports(nodes: list[ast.AST], module: str, file: Path) -> Iterator[str]:
    """Modules of the same package that `file` imports, or names as a file of code."""
    for node in nodes:
        if isinstance(node, ast.Import):
            candidates = [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _resolve(node, module, file)
            candidates = [(f"{source}.{alias.name}", source) for alias in node.names]
        elif isinstance(node, ast.Constant) and str(node.value).endswith(".py"):
            neighbour = f"{_folder_of(module, file)}.{str(node.value).removesuffix('.py')}"
            candidates = [(neighbour, module)]  # a string that is no file leads back to the module itself
        else:
            continue
        for preferred, fallback in candidates:
            if _package_of(preferred) == _package_of(module):
                yield preferred if _locate(preferred) else fallback


def _find_named_files(nodes: list[ast.AST], file: Path) -> Iterator[Path]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _may_name_file(node.value):
            path = file.parent / node.value
            if path.is_file() and path.suffix != ".py":
                yield path


def _may_name_file(text: str) -> bool:
    return "." in text and len(text) <= LONGEST_FILE_NAME and text.isprintable() and ".." not in text


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Like `ast.walk`, without what only a type checker reads."""
    yield node
    skipped = node.body if isinstance(node, ast.If) and _is_type_checking(node.test) else ()
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _walk(child)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test).rpartition(".")[2] == "TYPE_CHECKING"


def _resolve(node: ast.ImportFrom, module: str, file: Path) -> str:
    """The absolute name of the module that a `from … import` reads."""
    if not node.level:
        return node.module or ""
    base = _folder_of(module, file).split(".")
    base = base[: len(base) - node.level + 1]
    return ".".join([*base, *filter(None, [node.module])])


def _folder_of(module: str, file: Path) -> str:
    return module if file.name == "__init__.py" else module.rpartition(".")[0]


def _package_of(module: str) -> str:
    return module.partition(".")[0]


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        raise CodeDigestError(f"{file}: line {error.lineno}: {error.msg}") from None


def _locate(module: str) -> Path | None:
    """The source file of a module, found by its path alone."""
    package, *rest = module.split(".")
    root = _locate_package(package)
    if root is None:
        return None
    location = root.joinpath(*rest)
    candidates = (location / "__init__.py", location.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _locate_package(package: str) -> Path | None:
    spec = find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0]) if locations else None


def _name_within_package(file: Path, module: str) -> str:
    root = _locate_package(_package_of(module))
    assert root is not None
    return file.relative_to(root.parent).as_posix()
