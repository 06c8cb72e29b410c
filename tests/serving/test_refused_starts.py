"""Why a server does not start, in one line."""

import socket

import pytest

from ur4rec.serving.identity import open_served
from ur4rec.serving.server import ServeError, serve
from ur4rec.storage.artifacts import ArtifactError


def test_a_taken_port_is_named_once():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError) as caught:
            serve(None, None, "127.0.0.1", port, 1, lambda _: None)
    assert str(caught.value) == f"127.0.0.1:{port}: Address already in use; choose another --host or --port"


def test_a_folder_that_is_no_bundle_is_named(tmp_path):
    with (
        pytest.raises(ArtifactError, match="outputs: bundle not found; expected models:/NAME@ALIAS"),
        open_served(str(tmp_path / "outputs")),
    ):
        pass
