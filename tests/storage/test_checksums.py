"""Checksums against published values."""

import base64
from pathlib import Path

from ur4rec.storage.checksums import FileDigest, crc32c_of, digest_file

CHECK_VALUE = base64.b64encode(bytes.fromhex("e3069283")).decode()  # RFC 3720's polynomial, of "123456789"
SHA256 = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"


def test_both_checksums_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "digits").write_bytes(b"123456789")
    assert digest_file(tmp_path / "digits") == FileDigest(SHA256, CHECK_VALUE, 9)
    assert crc32c_of(b"123456789") == crc32c_of(tmp_path / "digits") == CHECK_VALUE
