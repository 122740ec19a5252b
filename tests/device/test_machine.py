"""Mien on a whole emulated machine: a camera, a display, power that is cut. Half an hour; needs root and qemu.

Nothing is said here of frame rates: the machine is emulated, and a hundred times slower than a board.
MIEN_TEST_ARCH (amd64, arm64) and MIEN_TEST_SUITE (bookworm, trixie) say which.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from machine import LOG, Machine

from mien.edge.overlay import colour_of

SHARED = os.environ.get("MIEN_SHARED_DATA")
pytestmark = pytest.mark.skipif(
    os.environ.get("MIEN_TEST_DEVICE") != "machine" or os.geteuid() != 0 or not SHARED,
    reason="boots an emulated machine: make test-machine, as root, with MIEN_SHARED_DATA",
)

ARCH, SUITE = os.environ.get("MIEN_TEST_ARCH", "amd64"), os.environ.get("MIEN_TEST_SUITE", "bookworm")
CONFIG = """source = "auto://?size=640x480"
model = "mien-base"
sinks = ["screen:", "jsonl:/var/log/mien/mien.jsonl"]
"""
OUT = Path("out/device")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with Mien on it, and a camera before which a man smiles."""
    assert SHARED
    it = Machine("qemu", ARCH, SUITE, PILAB_LOOP="1", PILAB_FPS="5")
    it.start()
    it.pilab("camera", "loop")
    it.pilab("camera-feed", f"{SHARED}/media/head-pose-face-detection-male.gif")
    it.configure(CONFIG)
    # Emulated, a start takes minutes and a frame a second.
    it.ssh("sudo mkdir -p /etc/systemd/system/mien.service.d")
    it.ssh(
        "printf '[Service]\\nTimeoutStartSec=900\\nWatchdogSec=180\\n' "
        "| sudo tee /etc/systemd/system/mien.service.d/slow.conf"
    )
    # The image sets the board's watchdog itself: here deploying is to do that.
    it.ssh("sudo sed -i /RuntimeWatchdogSec/d /etc/systemd/system.conf.d/pilab.conf")
    began = time.monotonic()
    done = it.make("deploy")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    print(f"\ndeployed in {time.monotonic() - began:.0f} s")
    yield it
    it.stop()


def screen(machine: Machine, name: str) -> np.ndarray:
    """What the machine's display shows, uint8 [H, W, 3]; also kept in out/device."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.png"
    machine.pilab("screendump", str(path))
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def blank(machine: Machine) -> None:
    """Takes the last picture off the display, which keeps it, so that only a new one can be seen."""
    machine.ssh("sudo dd if=/dev/zero of=/dev/fb0 bs=64k status=none", check=False)  # ends where the display does
    assert not has_label(screen(machine, "blank"), "happy")


def has_label(picture: np.ndarray, emotion: str) -> bool:
    """Whether a plate in an emotion's colour is in the picture: an area of it, not a stray pixel."""
    wanted = np.array(colour_of(emotion, ()))
    near = (np.abs(picture.astype(int) - wanted).max(axis=2) < 12).astype(np.uint8)
    return cv2.erode(near, np.ones((5, 5), np.uint8)).sum() > 50


def test_from_boot_the_label_is_on_the_display(machine: Machine) -> None:
    machine.pilab("reboot")
    took = machine.wait_for_frames(900)
    print(f"\nframes {took:.0f} s after ssh answered")
    machine.wait("a label on the display", lambda: has_label(screen(machine, "boot"), "happy"), 300)
    assert (OUT / "boot.png").exists()


def test_the_log_has_the_right_labels(machine: Machine) -> None:
    machine.wait("twenty lines with a face", lambda: sum(bool(row["faces"]) for row in machine.log(60)) >= 20, 400)
    seen = [face["emotion"] for row in machine.log(60) for face in row["faces"]]
    assert seen.count("happy") > 0.8 * len(seen), seen


def test_a_clock_that_jumps_by_a_year(machine: Machine) -> None:
    for jump in ("+1 year", "-1 year"):
        machine.ssh(f"sudo date -s '{jump}'")
        print(f"\nnew frames {machine.wait_for_frames(120):.0f} s after {jump}")


def test_a_display_that_is_unplugged(machine: Machine) -> None:
    connector = machine.ssh("ls -d /sys/class/drm/card*-*/ | head -1").strip()
    machine.ssh(f"echo off | sudo tee {connector}status")
    machine.wait("the journal's word of it", lambda: "the display is gone" in journal(machine), 120)
    machine.wait_for_frames(120)
    blank(machine)
    machine.ssh(f"echo detect | sudo tee {connector}status")
    took = machine.wait("a picture again", lambda: has_label(screen(machine, "replugged"), "happy"), 180)
    print(f"\na picture {took:.0f} s after the display came back")


def test_a_full_disk_pauses_the_log_and_nothing_else(machine: Machine) -> None:
    machine.ssh("sudo systemctl stop mien && sudo mount -t tmpfs -o size=40k,mode=755 none /var/log/mien")
    machine.ssh("sudo chown mien:mien /var/log/mien && sudo systemctl start mien")
    machine.wait("a full disk", lambda: " 100% " in machine.ssh("df /var/log/mien | tail -1"), 600)
    machine.wait_for_frames()
    size = int(machine.ssh(f"sudo stat -c %s {LOG}"))
    machine.ssh("sudo mount -o remount,size=3m /var/log/mien")
    took = machine.wait("more of the log", lambda: int(machine.ssh(f"sudo stat -c %s {LOG}")) > size, 60)
    print(f"\nthe log goes on {took:.0f} s after there was room")
    assert machine.log(50), "a line is torn"
    machine.ssh("sudo systemctl stop mien && sudo umount /var/log/mien && sudo systemctl start mien")


def test_a_display_that_comes_after_the_start(machine: Machine) -> None:
    connector = machine.ssh("ls -d /sys/class/drm/card*-*/ | head -1").strip()
    machine.ssh(f"sudo systemctl stop mien; echo off | sudo tee {connector}status; sudo systemctl start mien")
    machine.wait_for_frames(400)
    machine.wait("the journal's word of it", lambda: "goes on without, and shows" in journal(machine), 60)
    blank(machine)
    machine.ssh(f"echo detect | sudo tee {connector}status")
    took = machine.wait("a picture", lambda: has_label(screen(machine, "plugged"), "happy"), 180)
    print(f"\na picture {took:.0f} s after the display came")


def test_more_memory_than_it_may_have(machine: Machine) -> None:
    pid = machine.state()["MainPID"]
    machine.ssh("sudo systemctl set-property --runtime mien MemoryMax=40M")
    machine.wait("its end", lambda: "oom-kill" in journal(machine), 300)
    machine.ssh("sudo systemctl set-property --runtime mien MemoryMax=400M")
    machine.wait("another process", lambda: machine.state()["MainPID"] not in (pid, "0"), 120)
    print(f"\nframes {machine.wait_for_frames(600):.0f} s after there was memory again")


def test_a_kernel_that_hangs(machine: Machine) -> None:
    assert "RuntimeWatchdogUSec=15s" in machine.ssh("systemctl show -p RuntimeWatchdogUSec")
    boot = machine.ssh("cat /proc/sys/kernel/random/boot_id")
    # A moment later, so that this connection is over before the machine is dead.
    machine.ssh("sync; echo 0 | sudo tee /proc/sys/kernel/panic")
    machine.ssh("sudo systemd-run --on-active=2 --timer-property=AccuracySec=100ms sh -c 'echo c >/proc/sysrq-trigger'")
    began = time.monotonic()
    time.sleep(20)
    machine.pilab("wait", "600")
    assert machine.ssh("cat /proc/sys/kernel/random/boot_id") != boot
    print(f"\nssh answers {time.monotonic() - began:.0f} s after the kernel hung; the board's watchdog reset it")
    print(f"frames {machine.wait_for_frames(900):.0f} s later")


def test_power_that_is_cut(machine: Machine) -> None:
    machine.pilab("yank")
    print(f"\nframes {machine.wait_for_frames(900):.0f} s after ssh answered")
    lines = machine.ssh(f"sudo cat {LOG}").splitlines()
    torn = sum(not (line.startswith("{") and line.endswith("}")) for line in lines)
    print(f"{len(lines)} lines, {torn} torn by the power cut")
    assert torn <= 1  # the one that was being written


def test_a_model_with_a_flipped_bit_is_named(machine: Machine) -> None:
    models = machine.ssh("ls -d /opt/mien/current/venv/lib/python3*/site-packages/mien/edge/models/mien-base").strip()
    machine.ssh(f"sudo cp {models}/model.tflite /tmp/model")
    machine.ssh(f"printf '\\x55' | sudo dd of={models}/model.tflite bs=1 seek=9000 conv=notrunc status=none")
    machine.ssh("sudo systemctl restart mien", check=False)
    assert "doesn't match its card" in journal(machine)
    machine.ssh(f"sudo cp /tmp/model {models}/model.tflite && sudo systemctl restart mien")
    machine.wait_for_frames(600)


@pytest.fixture(scope="module")
def other_camera(machine: Machine) -> Machine:
    """The machine with another camera, which shows a test pattern, and can be stalled and unplugged."""
    machine.ssh("sudo systemctl stop mien")  # the module can't be unloaded while it has the camera open
    machine.pilab("camera", "off")
    machine.pilab("camera", "vivid")
    machine.ssh("sudo systemctl start mien")
    machine.wait_for_frames(400)
    return machine


def test_a_camera_that_another_program_uses(other_camera: Machine) -> None:
    other_camera.ssh("sudo systemctl stop mien")
    other_camera.ssh("sudo systemd-run --unit holder /opt/mien/current/venv/bin/mien run v4l2:///dev/video0")
    time.sleep(60)
    other_camera.ssh("sudo systemctl start mien --no-block")
    other_camera.wait("that it is, in the journal", lambda: "another program uses it" in journal(other_camera), 300)
    # The service may not see other users' programs; who administers the machine may.
    command = "sudo /opt/mien/current/venv/bin/mien check --config /etc/mien/config.toml"
    assert "is used by mien" in other_camera.ssh(command, check=False)
    other_camera.ssh("sudo systemctl stop holder")
    print(f"\nframes {other_camera.wait_for_frames(400):.0f} s after it was free")


def test_a_camera_that_stalls_is_opened_again(other_camera: Machine) -> None:
    other_camera.ssh("sudo journalctl --rotate && sudo journalctl --vacuum-time=1s")
    other_camera.pilab("camera", "stall")
    other_camera.wait("the stall in the journal", lambda: "trying again in" in journal(other_camera), 120)
    other_camera.pilab("camera", "resume")
    print(f"\nframes {other_camera.wait_for_frames(300):.0f} s after the camera went on")


def test_a_camera_that_is_unplugged_for_a_minute(other_camera: Machine) -> None:
    other_camera.ssh("sudo journalctl --rotate && sudo journalctl --vacuum-time=1s")
    other_camera.pilab("camera", "unplug")
    time.sleep(60)
    assert other_camera.state()["ActiveState"] in ("active", "activating")
    other_camera.pilab("camera", "plug")
    print(f"\nframes {other_camera.wait_for_frames(400):.0f} s after it was plugged in again")
    assert "trying again in" in journal(other_camera)


def journal(machine: Machine) -> str:
    return machine.ssh("sudo journalctl -u mien -n 40 -o cat")
