"""mien check, config and support: what they find, and what they keep to themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.edge import check, check_machine, check_software
from mien.edge.bundle import DEFAULT_BUNDLE
from mien.edge.config import Config
from mien.edge.main import app


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's folders with nothing in them."""
    for folder in ("etc", "proc/device-tree", "dev", "sys/class/drm", "sys/class/thermal/thermal_zone0", "run"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    return tmp_path / "root"


def test_a_good_machine(root: Path) -> None:
    (root / "etc/os-release").write_text('PRETTY_NAME="Raspberry Pi OS"\n')
    (root / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    (root / "sys/class/thermal/thermal_zone0/type").write_text("cpu-thermal\n")
    (root / "sys/class/thermal/thermal_zone0/temp").write_text("48100\n")
    found = {each.name: each for each in check.run_checks(Config(source="film.mp4"), fast=True, root=root)}
    assert "Raspberry Pi OS on Raspberry Pi 5 Model B Rev 1.0, Python 3." in found["system"].text
    assert found["board"].text == "48 °C" and found["board"].status == "ok"
    assert [each.name for each in found.values() if each.status == "fail"] == []
    assert {"system", "opencv", "runtime", "cascade", "model", "camera", "groups", "display", "disk", "clock"} < set(
        found
    )


def test_heat_and_power(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = root / "sys/class/thermal/thermal_zone0"
    (zone / "type").write_text("cpu-thermal")
    for milli, status in ((69_000, "ok"), (71_000, "warn"), (85_000, "fail")):
        (zone / "temp").write_text(str(milli))
        assert check_machine.check_board(root).status == status
    (zone / "temp").write_text("50000")
    firmware = root / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005")
    finding = check_machine.check_board(root)
    assert finding.status == "warn" and "under-voltage now" in finding.text and "power supply" in finding.mend


def test_cameras(root: Path) -> None:
    settings = Config(source="v4l2:///dev/video0")
    missing = check_machine.check_camera(settings, root, frames=True)
    assert missing.status == "fail" and "no v4l2:///dev/video0; found: none" in missing.text
    (root / "dev/video2").touch()
    assert "found: /dev/video2" in check_machine.check_camera(settings, root, frames=False).text
    (root / "dev/video0").touch()
    assert check_machine.check_camera(settings, root, frames=False).status == "ok"
    process = root / "proc/4711"
    (process / "fd").mkdir(parents=True)
    (process / "fd/5").symlink_to(root / "dev/video0")
    (process / "comm").write_text("rpicam-vid\n")
    busy = check_machine.check_camera(settings, root, frames=True)
    assert busy.status == "fail" and "is used by rpicam-vid (4711)" in busy.text
    assert check_machine.check_camera(Config(), root, frames=False).mend == "set `source`"


def test_a_program_that_has_the_camera_is_found_in_the_real_proc(tmp_path: Path) -> None:
    from mien.edge.sources.live import holders

    device = tmp_path / "video9"
    device.touch()
    assert holders(device) == []
    child = subprocess.Popen(["sleep", "60"], stdin=device.open())
    try:
        assert holders(device) == [f"sleep ({child.pid})"]
    finally:
        child.kill()
        child.wait()


def test_what_may_mend_itself_is_no_reason_not_to_start(root: Path) -> None:
    settings = Config(source="v4l2:///dev/video0")
    (thorough,) = check.run_checks(settings, root=root, only=["camera"])
    (fast,) = check.run_checks(settings, root=root, only=["camera"], fast=True)
    assert (thorough.status, fast.status) == ("fail", "warn") and thorough.text == fast.text
    (model,) = check.run_checks(Config(model="/nowhere"), root=root, only=["model"], fast=True)
    assert model.status == "fail"


def test_displays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    assert check_machine.check_display(root).text == "none attached: headless"
    connector = root / "sys/class/drm/card1-HDMI-A-1"
    connector.mkdir()
    (connector / "status").write_text("connected\n")
    assert check_machine.check_display(root).text == "attached: HDMI-A-1"


def test_a_damaged_model_and_cascade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    model = bundle / "model.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    finding = check_software.check_model(Config(model=str(bundle)), trial=True)
    assert finding.status == "fail" and "doesn't match its card" in finding.text and finding.mend
    assert check_software.check_model(Config(), trial=True).status == "ok"
    from mien.edge import detector

    assert check_software.check_cascade().text == "intact"
    broken = tmp_path / "cascade.xml"
    broken.write_bytes(detector.CASCADE.read_bytes()[:-1])
    monkeypatch.setattr(detector, "CASCADE", broken)
    assert check_software.check_cascade().text == "damaged"


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Config(sinks=(f"jsonl:{tmp_path}/new/log.jsonl?x=1", "window:"))
    usage = shutil.disk_usage(tmp_path)
    for free, status in ((1 << 30, "ok"), (100 << 20, "warn"), (1 << 20, "fail")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        finding = check_machine.check_space(settings)
        assert finding.status == status and "new/log.jsonl" in finding.text


def test_a_disk_that_is_read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check_machine.os, "access", lambda path, mode: Path(path) != tmp_path)
    finding = check_machine.check_space(Config(sinks=(f"jsonl:{tmp_path}/log.jsonl",)))
    assert finding.status == "fail" and finding.text == f"{tmp_path}/log.jsonl can't be written"


def test_the_command_says_it_in_its_exit_code(tmp_path: Path) -> None:
    run = CliRunner().invoke
    config = tmp_path / "config.toml"
    config.write_text('source = "film.mp4"\n')
    good = run(app, ["check", "--fast", "--config", str(config)])
    assert good.exit_code == 0 and "ok   model" in good.output
    config.write_text('sorce = "film.mp4"\n')
    bad = run(app, ["check", "--fast", "--json", "--config", str(config)])
    found = json.loads(bad.stdout)
    assert bad.exit_code == 1 and found["status"] == "fail"
    assert "did you mean source?" in found["checks"][0]["text"] and found["checks"][0]["mend"]
    assert all(set(each) == {"name", "status", "text", "mend"} for each in found["checks"])


def test_config_check_and_show(tmp_path: Path) -> None:
    run = CliRunner().invoke
    config = tmp_path / "config.toml"
    config.write_text("threads = 2\n")
    assert "good" in run(app, ["config", "check", "--config", str(config)]).output
    assert "threads = 2\n" in run(app, ["config", "show", "--config", str(config)]).output
    assert json.loads(run(app, ["config", "show", "--json", "--config", str(config)]).stdout)["threads"] == 2
    config.write_text("thread = 2\n")
    wrong = run(app, ["config", "check", "--config", str(config)])
    assert wrong.exit_code == 1 and "unknown key thread: did you mean threads?" in wrong.stderr


def test_support_tells_no_secret(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('source = "rtsp://me:hunter2@cam/1"\nsinks = ["mqtts://joe:opensesame@broker/x?token=abc123"]\n')
    out = tmp_path / "support.txt"
    command = [str(Path(sys.executable).with_name("mien")), "support", "--out", str(out), "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "DISPLAY": ""})
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert "rtsp://…@cam/1" in text and "opencv-python" in text and "== log" in text
    assert not any(secret in text for secret in ("hunter2", "opensesame", "abc123"))
