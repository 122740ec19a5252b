"""Deployment and recovery on a container with systemd: minutes. Needs root, and what tests/device/pilab names.

MIEN_TEST_ARCH (amd64, arm64: emulated) and MIEN_TEST_SUITE (bookworm, trixie) say which.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from machine import LOG, Machine, broken_tree

from mien.edge.bundle import DEFAULT_BUNDLE, Bundle
from mien.edge.classifier import Classifier
from mien.edge.dataset import read_dataset
from mien.edge.demo import write_moving_picture

pytestmark = pytest.mark.skipif(
    os.environ.get("MIEN_TEST_DEVICE") != "container" or os.geteuid() != 0,
    reason="starts a container with systemd: make test-device, as root",
)

ARCH, SUITE = os.environ.get("MIEN_TEST_ARCH", "amd64"), os.environ.get("MIEN_TEST_SUITE", "bookworm")
SHARED = os.environ.get("MIEN_SHARED_DATA")
# A Raspberry Pi 4's core. qemu-user's own, "max", has instructions that no Pi has, and with them LiteRT reads wrongly.
CORE = "QEMU_CPU=cortex-a72" if ARCH == "arm64" else ""
CONFIG = """source = "/opt/film.avi"
loop = true
model = "mien-base"
sinks = ["screen:", "jsonl:/var/log/mien/mien.jsonl"]
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh machine, with Mien deployed to it and a film of two photographs in place of a camera."""
    it = Machine("nspawn", ARCH, SUITE)
    it.start()
    film = tmp_path_factory.mktemp("film") / "film.avi"
    write_moving_picture(film)
    it.put(film, "/opt/film.avi")
    it.configure(CONFIG)
    # A film has no rate of its own: without a limit it would take all of the machine that the tests run on.
    it.ssh("sudo mkdir -p /etc/systemd/system/mien.service.d")
    # Emulated, a start alone takes half a minute, and qemu-user doesn't know what sets up an IPC namespace.
    own = "CPUQuota=40%%" if ARCH == "amd64" else f"CPUQuota=100%%\\nPrivateIPC=no\\nEnvironment={CORE}"
    it.ssh(f"printf '[Service]\\n{own}\\n' | sudo tee /etc/systemd/system/mien.service.d/cpu.conf")
    began = time.monotonic()
    done = it.make("deploy")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    print(f"\ndeployed to a clean image in {time.monotonic() - began:.0f} s")
    assert "shown this once: " in done.stdout
    yield it
    it.stop()


def test_the_service_reads_the_film(machine: Machine) -> None:
    machine.wait_for_frames()
    assert machine.ssh("systemctl is-enabled mien").strip() == "enabled"

    def readings() -> list[str]:
        faces = [face for row in machine.log(400) for face in row["faces"]]
        return [face["emotion"] for face in faces if face["emotion"] != "uncertain"]

    machine.wait("a hundred readings", lambda: len(readings()) > 100, 600)
    seen = readings()
    assert seen.count("happy") > 0.9 * len(seen), "the two people smile"
    assert "frames/s" in machine.state()["StatusText"]


def test_the_machine_is_checked(machine: Machine) -> None:
    report = json.loads(
        machine.ssh(f"sudo -u mien env {CORE} /opt/mien/current/venv/bin/mien check --json", check=False)
    )
    found = {check["name"]: check for check in report["checks"]}
    assert all(found[name]["status"] == "ok" for name in ("opencv", "runtime", "cascade", "model")), report
    assert found["system"]["status"] == ("warn" if ARCH == "armhf" else "ok"), "32 bits are slow, and it says so"
    print(f"\n{found['system']['text']}; {found['opencv']['text']}; {found['runtime']['text']}")


@pytest.mark.skipif(not SHARED, reason="needs the data set: set MIEN_SHARED_DATA")
def test_it_reads_200_faces_as_this_machine_does(machine: Machine, tmp_path: Path) -> None:
    classifier = Classifier(Bundle.load(DEFAULT_BUNDLE))
    faces = read_dataset(Path(f"{SHARED}/data/fer2013.zip")).splits["validation"]
    pixels = faces.take(np.random.default_rng(0).permutation(len(faces))[:200])
    mine = classifier.scores(pixels)
    np.savez(tmp_path / "faces.npz", pixels=pixels)
    machine.put(tmp_path / "faces.npz", "/opt/faces.npz")
    machine.put(Path(__file__).with_name("read_faces.py"), "/opt/read_faces.py")
    command = f"env {CORE} /opt/mien/current/venv/bin/python /opt/read_faces.py /opt/faces.npz"
    theirs = np.array(json.loads(machine.ssh(command)))
    same = int((theirs.argmax(1) == mine.argmax(1)).sum())
    print(f"\n{same} of 200 labels as here; largest difference of a probability {np.abs(theirs - mine).max():.4f}")
    assert same == 200


def test_redeploying_changes_nothing(machine: Machine) -> None:
    before = machine.state()["MainPID"]
    done = machine.make("deploy")
    assert done.returncode == 0 and " changed=0 " in done.stdout, done.stdout[-1500:]
    assert "shown this once" not in done.stdout
    assert machine.state()["MainPID"] == before
    assert "film.avi" in machine.ssh("sudo cat /etc/mien/config.toml"), "an edited configuration was overwritten"


def test_it_starts_at_boot(machine: Machine) -> None:
    machine.pilab("reboot")
    print(f"\nframes {machine.wait_for_frames():.1f} s after ssh answered")


def test_a_killed_service_comes_back_and_its_log_is_whole(machine: Machine) -> None:
    pid = machine.state()["MainPID"]
    machine.ssh(f"sudo kill -9 {pid}")
    machine.wait("another process", lambda: machine.state()["MainPID"] not in (pid, "0"))
    print(f"\nframes {machine.wait_for_frames():.1f} s after the new process began")
    assert machine.log(2000)


def test_a_frozen_service_is_ended_by_the_watchdog(machine: Machine) -> None:
    machine.ssh("printf '[Service]\\nWatchdogSec=8\\n' | sudo tee /etc/systemd/system/mien.service.d/test.conf")
    machine.ssh("sudo systemctl daemon-reload && sudo systemctl restart mien")
    machine.wait_for_frames()
    pid = machine.state()["MainPID"]
    machine.ssh(f"sudo kill -STOP {pid}")
    took = machine.wait("another process", lambda: machine.state()["MainPID"] not in (pid, "0"), 60)
    print(f"\na frozen process was replaced {took:.0f} s later (WatchdogSec=8)")
    assert "watchdog" in machine.ssh("sudo journalctl -u mien -n 40 -o cat").lower()
    machine.wait_for_frames()
    machine.ssh("sudo rm /etc/systemd/system/mien.service.d/test.conf && sudo systemctl daemon-reload")


def test_it_ends_within_two_seconds(machine: Machine) -> None:
    machine.wait_for_frames()
    began = time.monotonic()
    machine.ssh("sudo systemctl stop mien")
    took = time.monotonic() - began
    assert machine.state()["Result"] == "success" and took < 5
    print(f"\nstopped in {took:.1f} s, ssh included")
    machine.ssh("sudo systemctl start mien")


def test_a_broken_release_is_taken_back(machine: Machine, tmp_path: Path) -> None:
    before = machine.ssh("readlink /opt/mien/current").strip()
    tree = broken_tree(tmp_path / "tree", "edge/pipeline.py", 'raise RuntimeError("this release is broken")')
    done = machine.make("deploy", tree=tree)
    assert done.returncode != 0
    assert "reads no frames" in done.stdout and "this release is broken" in done.stdout and "runs again" in done.stdout
    assert machine.ssh("readlink /opt/mien/current").strip() == before
    print(f"\nback to frames {machine.wait_for_frames():.1f} s after the playbook ended")


def test_a_model_alone_is_swapped_or_refused(machine: Machine, tmp_path: Path) -> None:
    good = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "other")
    card = json.loads((good / "card.json").read_text())
    (good / "card.json").write_text(json.dumps(card | {"version": "99"}))
    pid = machine.state()["MainPID"]
    done = machine.make("model", str(good))
    assert done.returncode == 0, done.stdout[-2000:]
    assert machine.state()["MainPID"] == pid, "the camera was lost"
    assert "/var/lib/mien/models/other-" in machine.ssh("sudo grep ^model /etc/mien/config.toml")
    assert "other" in machine.ssh("sudo journalctl -u mien -n 20 -o cat") or machine.wait_for_frames() >= 0
    # One whose card is right, but which no runtime can read.
    bad = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bad")
    model = (bad / "model.tflite").read_bytes()[:20_000]
    (bad / "model.tflite").write_bytes(model)
    (bad / "card.json").write_text(json.dumps(card | {"sha256": hashlib.sha256(model).hexdigest()}))
    refused = machine.make("model", str(bad))
    assert refused.returncode != 0 and "can't be used on this device" in refused.stdout, refused.stdout[-2000:]
    assert "/var/lib/mien/models/other-" in machine.ssh("sudo grep ^model /etc/mien/config.toml")
    machine.wait_for_frames()


def test_a_truncated_model_is_named(machine: Machine) -> None:
    models = machine.ssh("ls -d /opt/mien/current/venv/lib/python3*/site-packages/mien/edge/models/mien-base").strip()
    machine.configure(CONFIG)
    machine.ssh(f"sudo cp {models}/model.tflite /tmp/model && sudo truncate -s 100000 {models}/model.tflite")
    machine.ssh("sudo systemctl restart mien", check=False)
    assert "doesn't match its card" in machine.ssh("sudo journalctl -u mien -n 40 -o cat")
    machine.ssh(f"sudo cp /tmp/model {models}/model.tflite")
    print(f"\nframes {machine.wait_for_frames():.0f} s after it was mended, without a hand")


def test_a_disk_that_is_read_only_costs_the_log_alone(machine: Machine) -> None:
    machine.ssh("sudo systemctl stop mien; sudo journalctl --rotate; sudo journalctl --vacuum-time=1s", check=False)
    for folder in ("log", "lib"):
        # The last remount makes the file system read-only and not the mount, as the kernel does after an error.
        machine.ssh(
            f"sudo mount -t tmpfs -o mode=755 none /var/{folder}/mien && sudo chown mien:mien /var/{folder}/mien "
            f"&& sudo mount -o remount,ro /var/{folder}/mien && sudo mount -o remount,bind,rw /var/{folder}/mien"
        )
    machine.ssh("sudo systemctl start mien")
    machine.wait_for_frames()
    assert "goes on without, and tries again" in machine.ssh("sudo journalctl -u mien -o cat")
    for folder in ("log", "lib"):
        machine.ssh(f"sudo mount -o remount,rw /var/{folder}/mien")
    took = machine.wait("a log", lambda: bool(machine.ssh(f"sudo cat {LOG}", check=False).startswith("{")), 60)
    print(f"\nthe log goes on {took:.0f} s after the disk could be written again")
    machine.ssh("sudo systemctl stop mien; sudo umount /var/log/mien /var/lib/mien; sudo systemctl start mien")
    machine.wait_for_frames()


def test_a_list_of_devices_is_deployed_to(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "devices.ini").write_text("[kitchen]\nraspberrypi ansible_user=pi\n")
    done = machine.make("deploy", HOST="", HOSTS=str(tmp_path / "devices.ini"))
    assert done.returncode == 0 and " changed=0 " in done.stdout, done.stdout[-1500:]


def test_a_wrong_configuration_is_said_in_the_status(machine: Machine) -> None:
    machine.configure("thread = 2\n")
    machine.ssh("sudo systemctl restart mien", check=False)
    status = machine.ssh("systemctl status mien --no-pager --full", check=False)
    assert "unknown key thread: did you mean threads?" in machine.ssh("sudo journalctl -u mien -n 20 -o cat"), status
    machine.configure(CONFIG)
    machine.ssh("sudo systemctl restart mien")
    machine.wait_for_frames()


def test_it_can_be_taken_off(machine: Machine) -> None:
    done = machine.make("undeploy")
    assert done.returncode == 0, done.stdout[-1500:]
    assert machine.ssh("systemctl is-active mien", check=False).strip() != "active"
    assert "gone" in machine.ssh("ls /opt/mien 2>/dev/null || echo gone")
    assert "film.avi" in machine.ssh("sudo cat /etc/mien/config.toml"), "the configuration is kept"
    again = machine.make("undeploy")
    assert again.returncode == 0 and " changed=0 " in again.stdout
