"""Shape annotations of the model code are checked while the tests run; the emulator is there for all."""

from emulators import bucket, gcs_emulator
from jaxtyping import install_import_hook

__all__ = ["bucket", "gcs_emulator"]

install_import_hook("ur4rec.models", "beartype.beartype")
