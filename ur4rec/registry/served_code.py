"""The code that a registered model brings along, and where its bundle lies; free of torch, which loads in a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import ur4rec
from ur4rec.storage.code_digest import code_digest, find_sources

SERVED_MODULE = "ur4rec.registry.pyfunc_model"
BUNDLE = "bundle"
BUNDLE_PATH = f"artifacts/{BUNDLE}"
"""MLflow puts the bundle there, inside the model folder."""


def copy_sources(folder: Path) -> Path:
    """Copy the sources that serving needs into `folder`; return the package's copy.

    The installed package asks its metadata for the version; the copy has none, so it holds the number itself.
    """
    for name, source in find_sources(SERVED_MODULE).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    package = folder / ur4rec.__name__
    (package / "__init__.py").write_text(f'"""{ur4rec.__doc__}"""\n\n__version__ = "{ur4rec.__version__}"\n')
    return package


def describe_code() -> str:
    """Return the version of `ur4rec` and a digest of the sources that serve a model."""
    return f"{ur4rec.__version__}+{code_digest(SERVED_MODULE)[:12]}"
