"""Shape annotations of the model code are checked while the tests run."""

from jaxtyping import install_import_hook

install_import_hook("ur4rec.models", "beartype.beartype")
