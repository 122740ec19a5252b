"""A machine that stands in for a Raspberry Pi, driven by pilab, and deploying to it as a user would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
LOG = "/var/log/mien/mien.jsonl"


class Machine:
    """One machine: `vm` is "nspawn" (a container) or "qemu" (a kernel, a camera, a display of its own)."""

    def __init__(self, vm: str, arch: str = "amd64", suite: str = "bookworm", **settings: str) -> None:
        self.vm, self.arch, self.suite = vm, arch, suite
        folder = os.environ.get("PILAB_DIR", str(REPOSITORY / "build" / "pilab"))
        self._environment = {
            **os.environ,
            "PILAB_DIR": folder,
            "PILAB_VM": vm,
            "PILAB_ARCH": arch,
            "PILAB_SUITE": suite,
            **settings,
        }
        self.folder = Path(folder)

    def pilab(self, *arguments: str, timeout: float = 1200) -> str:
        """What pilab prints; an error if it fails."""
        done = subprocess.run(
            [str(HERE / "pilab"), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"pilab {' '.join(arguments)}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
        return done.stdout

    def start(self) -> None:
        """Builds the image unless it is there, and boots a fresh machine."""
        base = self.folder / f"{self.suite}-{self.arch}-{self.vm}"
        if not base.with_name(f"{base.name}.{'root' if self.vm == 'nspawn' else 'img'}").exists():
            self.pilab("build", timeout=3600)
        self.stop()
        self.pilab("boot")

    def stop(self) -> None:
        """Ends the machine, if it runs."""
        self.pilab("stop")

    def ssh(self, command: str, check: bool = True) -> str:
        """What a shell command prints there."""
        done = subprocess.run(
            ["ssh", "-F", self.pilab("ssh-config").strip(), "raspberrypi", command],
            capture_output=True,
            text=True,
            timeout=600,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout + (done.stderr if not check else "")

    def put(self, source: Path, target: str) -> None:
        """Copies a file there, for everybody to read."""
        self.pilab("scp", str(source), "raspberrypi:/tmp/put")
        self.ssh(f"sudo install -D -m 644 /tmp/put {target}")

    def configure(self, text: str) -> None:
        """Writes the service's configuration."""
        (self.folder / "config.toml").write_text(text, encoding="utf-8")
        self.put(self.folder / "config.toml", "/etc/mien/config.toml")

    def make(
        self, what: str, *arguments: str, tree: Path = REPOSITORY, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs scripts/deploy.sh, as make does, from a tree of the repository."""
        machine = {"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l"}[self.arch]
        kind = f"{machine}-{'311' if self.suite == 'bookworm' else '313'}"
        return subprocess.run(
            ["sh", "scripts/deploy.sh", what, *arguments],
            cwd=tree,
            capture_output=True,
            text=True,
            timeout=3600,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "HOST": "pi@raspberrypi",
                "SSH_CONFIG": self.pilab("ssh-config").strip(),
                "KINDS": kind,
                "ANSIBLE_NOCOLOR": "1",
                **environment,
            },
        )

    def state(self) -> dict[str, str]:
        """The service's properties."""
        names = "ActiveState,SubState,StatusText,MainPID,NRestarts,Result"
        return dict(line.split("=", 1) for line in self.ssh(f"systemctl show mien -p {names}").splitlines())

    def frames(self) -> int:
        """Frames that the service says it has read; -1 while it says nothing."""
        found = re.search(r"(\d+) frames(?!/)", self.state()["StatusText"])
        return int(found[1]) if found else -1

    def wait(self, what: str, holds: Callable[[], bool], seconds: float = 120) -> float:
        """Seconds until something holds."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if holds():
                return time.monotonic() - began
            time.sleep(0.5)
        journal = self.ssh("sudo journalctl -u mien -n 30 -o cat", check=False)
        raise AssertionError(f"not within {seconds} s: {what}; {self.state()}\n{journal}")

    def wait_for_frames(self, seconds: float = 120) -> float:
        """Seconds until the service reads new frames."""
        first: list[int] = []

        def more() -> bool:
            if self.state()["ActiveState"] != "active" or (now := self.frames()) < 0:
                first.clear()
                return False
            if first and now < first[0]:  # started anew meanwhile
                first.clear()
            first.append(now)
            return now > first[0]

        return self.wait("new frames", more, seconds)

    def log(self, lines: int = 20) -> list[dict[str, Any]]:
        """The last lines of the service's log, each of which must be whole."""
        text = self.ssh(f"sudo tail -n {lines} {LOG}")
        return [json.loads(line) for line in text.splitlines()]


def broken_tree(target: Path, file: str, line: str) -> Path:
    """A copy of the repository in which one file ends with a line that breaks it."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target / name)
    with (target / file).open("a", encoding="utf-8") as stream:
        stream.write(f"\n{line}\n")
    (target / ".venv").symlink_to(REPOSITORY / ".venv")
    return target
