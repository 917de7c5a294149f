"""What a run starts does not outlive it, not even where it is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

RUN = """
import asyncio, sys
from pathlib import Path
from tests.conformance.command import reported
from tests.conformance.suite import Run
from tutelage.demo.site import free_port, running_process

async def main(folder, port):
    serve = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    async with running_process(serve, log=folder / "log", ready_url=f"http://127.0.0.1:{port}/"):
        run = Run(base_url="", folder=folder)
        await asyncio.to_thread(reported, run, ["sleep", "600"], folder / "report", folder=folder)

asyncio.run(main(Path(sys.argv[1]), free_port()))
"""
SOON_S = 60.0


def children(parent: int) -> set[int]:
    found = set[int]()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and alive(int(folder.name), parent):
            found.add(int(folder.name))
    return found


def alive(pid: int, parent: int | None = None) -> bool:
    """Whether it is there and no zombie, and its parent this one."""
    try:
        state, of = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return state != "Z" and parent in (None, int(of))


def test_servers_and_suites_end_with_the_run_that_is_killed(tmp_path: Path):
    root = Path(__file__).parents[2]
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    deadline = time.monotonic() + SOON_S
    try:
        while len(started := children(run.pid)) < 2:
            assert run.poll() is None
            assert time.monotonic() < deadline
    finally:
        run.kill()
        run.wait()
    deadline = time.monotonic() + SOON_S
    while any(alive(pid) for pid in started):
        assert time.monotonic() < deadline, "a child outlives its parent"
