"""The frame rate with each outlet attached, against none, taking turns in one run.

    python tests/bench/outlets.py [--json]

The pipeline works through a film held in memory as fast as it can, many times a camera's rate, so that what an outlet
costs a frame shows more than it would at a camera's. Ratios are medians over many short turns; the lines "used" have
somebody at the other end: a reader, a scraper each second, a subscriber. Everything runs on this one machine. The
second column is the processor's time a frame, of all threads: what else runs on the machine hardly moves it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "edge"))  # for servers

from servers import broker_in, free_port

from mien.edge.bundle import DEFAULT_BUNDLE, Bundle
from mien.edge.classifier import Classifier
from mien.edge.demo import write_moving_picture
from mien.edge.detector import HaarDetector
from mien.edge.errors import MienError
from mien.edge.finder import Following
from mien.edge.pipeline import Pipeline
from mien.edge.sinks import Sink, open_sink
from mien.edge.sinks.background import detached
from mien.edge.sinks.web import WebSink
from mien.edge.smoother import Smoother
from mien.edge.sources import open_source
from mien.edge.sources.fake import FakeSource
from mien.edge.tracker import Tracker

SCRAPER = """
import sys, time, urllib.request
while True:
    time.sleep(1)
    urllib.request.urlopen(sys.argv[1], timeout=5).read()
"""

VIEWER = """
import sys, threading, urllib.request
def take(path):
    with urllib.request.urlopen(sys.argv[1] + path) as answer:
        while answer.read1(65536):
            pass
threading.Thread(target=take, args=("/api/v1/stream",), daemon=True).start()
take("/picture.mjpeg")
"""


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """A process beside, killed at the end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)  # its start is no part of what is measured
        yield
    finally:
        process.kill()
        process.wait()


class Bench:
    """The parts that all runs share, and one outlet a method: each gives the sink while it may be used."""

    def __init__(self, images: Sequence[np.ndarray], frames: int, folder: Path, port: int) -> None:
        """`images` are the film, uint8 [H, W, 3]; `port` is the broker's."""
        self._images, self._frames, self._folder, self._port = images, frames, folder, port
        self._classifier = Classifier(Bundle.load(DEFAULT_BUNDLE))

    def measure(self, outlet: Callable[[], contextlib.AbstractContextManager[Sink | None]]) -> tuple[float, float]:
        """Frames a second with it, and the processor's seconds a frame."""
        smoother = Smoother(self._classifier.labels, self._classifier.uncertain_below, 0.5, 0.1)
        with FakeSource(self._images, loop=True, start=time.time()) as source, outlet() as sink:
            sinks = [sink] if sink else []
            finder = Following(HaarDetector(), Tracker())
            pipeline = Pipeline(source, finder, self._classifier, smoother, sinks)
            start = time.process_time()
            stats = pipeline.run(self._frames)
            return stats.fps, (time.process_time() - start) / stats.frames

    @contextlib.contextmanager
    def none(self) -> Iterator[None]:
        yield None

    @contextlib.contextmanager
    def _sink(self, uri: str) -> Iterator[Sink]:
        with detached(open_sink(uri, 25.0)) as sink:
            yield sink

    def jsonl(self) -> contextlib.AbstractContextManager[Sink]:
        return self._sink(f"jsonl:{self._folder / 'log.jsonl'}")

    def history(self) -> contextlib.AbstractContextManager[Sink]:
        return self._sink(f"history:{self._folder / 'history.db'}")

    @contextlib.contextmanager
    def history_used(self) -> Iterator[Sink]:
        mien = str(Path(sys.executable).with_name("mien"))
        with self.history() as sink, running(mien, "events", "--history", str(self._folder / "history.db"), "--follow"):
            yield sink

    def metrics(self) -> contextlib.AbstractContextManager[Sink]:
        return self._sink(f"metrics://127.0.0.1:{free_port()}")

    @contextlib.contextmanager
    def metrics_used(self) -> Iterator[Sink]:
        port = free_port()
        with (
            self._sink(f"metrics://127.0.0.1:{port}") as sink,
            running(sys.executable, "-c", SCRAPER, f"http://127.0.0.1:{port}/metrics"),
        ):
            yield sink

    def mqtt(self) -> contextlib.AbstractContextManager[Sink]:
        return self._sink(f"mqtt://127.0.0.1:{self._port}?spool={self._folder / 'spool.db'}")

    @contextlib.contextmanager
    def mqtt_used(self) -> Iterator[Sink]:
        with self.mqtt() as sink, running("mosquitto_sub", "-p", str(self._port), "-t", "#"):
            yield sink

    def web(self) -> contextlib.AbstractContextManager[Sink]:
        return self._sink("http://127.0.0.1:0")

    @contextlib.contextmanager
    def web_used(self) -> Iterator[Sink]:
        with self.web() as sink:
            assert isinstance(sink, WebSink)
            with running(sys.executable, "-c", VIEWER, f"http://127.0.0.1:{sink.port}"):
                yield sink
            if sink.pictures == 0:
                sys.exit("the viewer got no picture")

    @contextlib.contextmanager
    def terminal_used(self) -> Iterator[Sink]:
        from rich.console import Console

        from mien.edge.sinks.terminal import TerminalSink

        with (
            Path(os.devnull).open("w") as nowhere,
            TerminalSink(console=Console(file=nowhere, force_terminal=True, width=120)) as sink,
        ):
            yield sink

    def clips_used(self) -> contextlib.AbstractContextManager[Sink]:
        folder = self._folder / "clips"
        folder.mkdir(exist_ok=True)
        return self._sink(f"clips:{folder}")

    def video_used(self) -> contextlib.AbstractContextManager[Sink]:
        return self._sink(f"video:{self._folder / 'out.mp4'}")


OUTLETS = (
    "jsonl",
    "history",
    "history_used",
    "metrics",
    "metrics_used",
    "mqtt",
    "mqtt_used",
    "web",
    "web_used",
    "terminal_used",
    "clips_used",
    "video_used",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--frames", type=int, default=130)
    parser.add_argument("--only", nargs="+", choices=OUTLETS, default=OUTLETS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    names = [name for name in options.only if not name.startswith("mqtt") or shutil.which("mosquitto_sub")]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_moving_picture(folder / "demo.avi")
        with open_source(str(folder / "demo.avi")) as source:
            images = [frame.image for frame in source]
        port = 0
        if any(name.startswith("mqtt") for name in names):
            port = stack.enter_context(broker_in(folder / "broker")).port
        bench = Bench(images, options.frames, folder, port)
        bench.measure(bench.none)  # warms up
        rates: dict[str, list[float]] = {name: [] for name in names}
        times: dict[str, list[float]] = {name: [] for name in names}
        bare = [bench.measure(bench.none)]
        for _ in range(options.repeats):
            for name in names:
                try:
                    rate, seconds = bench.measure(getattr(bench, name))
                except MienError as error:
                    sys.exit(f"{name}: {error}")
                # Against the mean of the runs without any before and after it: the machine's own drift is halved.
                bare.append(bench.measure(bench.none))
                rates[name].append(2 * rate / (bare[-2][0] + bare[-1][0]))
                times[name].append(2 * seconds / (bare[-2][1] + bare[-1][1]))
    without = statistics.median(rate for rate, _ in bare)
    rows = {name: (statistics.median(rates[name]), statistics.median(times[name])) for name in names}
    if options.json:
        print(json.dumps({"frames_per_second_without": without, **rows}, indent=1))
        return
    print(f"without any outlet: {without:.0f} frames/s")
    print(f"{'':18}frame rate                processor time")
    for name, (rate, seconds) in rows.items():
        low, _, high = statistics.quantiles(rates[name], n=4) if len(rates[name]) > 1 else (rate, rate, rate)
        print(f"{name.replace('_', ', '):18}{rate:.3f} ({low:.3f} – {high:.3f})     {seconds:.3f}")


if __name__ == "__main__":
    main()
