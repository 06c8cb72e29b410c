from __future__ import annotations

import subprocess
import sys


def test_commands_are_listed_without_kfp() -> None:
    """Its import takes seconds."""
    script = (
        "import sys\n"
        "from typer.main import get_command\n"
        "from pipelines.__main__ import app\n"
        "print(*sorted(get_command(app).commands))\n"
        "print(*sorted({'kfp', 'kfp_server_api', 'kubernetes', 'torch', 'mlflow'} & set(sys.modules)))\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines() == ["compile logs run schedule status submit watch", ""]
