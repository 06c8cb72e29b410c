"""Runs commands on a disk of a few megabytes, in a mount namespace of its own: `unshare -rm python small_disk.py JSON`.

Each command runs with room, then with what it has made still there and no room, half the room that it took, and the
same again where nothing was. Prints what came of each as a line of JSON.
"""

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SIZE = 96 << 20
BALLAST = "ballast"
LOCKS = ".lock"
"""They stay, empty."""


def take_snapshot(disk: Path) -> dict[str, str]:
    """Everything on the disk but locks and the ballast: path → digest, or that it is a folder."""
    return {
        path.relative_to(disk).as_posix(): "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(disk.rglob("*"))
        if not path.name.endswith(LOCKS) and path.name != BALLAST and not (path.is_dir() and _holds_locks_alone(path))
    }


def _holds_locks_alone(folder: Path) -> bool:
    below = list(folder.rglob("*"))
    return bool(below) and all(path.is_dir() or path.name.endswith(LOCKS) for path in below)


def count_used(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def fill(disk: Path, left: int) -> None:
    """Leaves so many bytes, in whole pages."""
    with (disk / BALLAST).open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
        file.truncate(file.tell() - left // 4096 * 4096)


def run(program: str, arguments: list[str], log: Path) -> dict[str, object]:
    """Exit code and output of a command, in a process of its own that has imported everything already."""
    child = os.fork()
    if not child:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = [program, *arguments]
        code = 99
        try:
            application = __import__("pipelines.__main__" if program == "pipelines" else "ur4rec.cli", fromlist=["app"])
            application.app()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return {"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "output": log.read_text(errors="replace")}


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    disk = Path(request["disk"])
    __import__("ur4rec.local")
    for name, (program, command) in request["commands"].items():
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", disk], check=True)
        before = count_used(disk)

        def execute(place: str, command: list[str] = command, program: str = program) -> dict[str, object]:
            log = Path(request["disk"]).with_name("log")
            return run(program, [part.replace("{out}", f"{disk}/{place}") for part in command], log)

        first = execute("old/out")
        needed = count_used(disk) - before
        print(json.dumps({"name": name, "place": "first", "needed": needed, **first}), flush=True)
        for place in ("old/out", "new/out"):
            for left in (0, needed // 2):
                fill(disk, left)
                was = take_snapshot(disk)
                outcome = execute(place)
                (disk / BALLAST).unlink()
                now = take_snapshot(disk)
                differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
                row = {"name": name, "place": place, "left": left, **outcome, "differing": differing}
                print(json.dumps(row), flush=True)
        subprocess.run(["umount", disk], check=True)


if __name__ == "__main__":
    main()
