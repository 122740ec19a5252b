"""What the live page costs: frame rates without it, with nobody looking, and with one viewer, in one run.

    python tests/bench/web.py [--json]

The demo's film is read as fast as it goes, from memory. A viewer takes the picture and the readings, in a process of
its own. The three take turns; ratios are medians over the turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

from mien.edge.bundle import DEFAULT_BUNDLE, Bundle
from mien.edge.classifier import Classifier
from mien.edge.config import Config
from mien.edge.demo import FRAME_RATE, write_moving_picture
from mien.edge.finder import make_finder
from mien.edge.pipeline import Pipeline
from mien.edge.records import Image
from mien.edge.sinks import Sink, open_sink
from mien.edge.sinks.web import WebSink
from mien.edge.smoother import Smoother
from mien.edge.sources import open_source
from mien.edge.sources.fake import FakeSource

VIEWER = """
import sys, threading, urllib.request
def take(path):
    with urllib.request.urlopen(sys.argv[1] + path) as answer:
        while data := answer.read1(65536):
            if path.endswith("mjpeg"):
                print(len(data), flush=True)
threading.Thread(target=take, args=("/api/v1/stream",), daemon=True).start()
take("/picture.mjpeg")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "demo.avi"
        write_moving_picture(film)
        with open_source(str(film)) as source:
            images = [frame.image for frame in source]
    rates: dict[str, list[float]] = {"without": [], "idle": [], "one viewer": []}
    taken = 0
    for _ in range(options.repeats):
        rates["without"].append(rate(images, options.frames, []))
        with page() as sink:
            rates["idle"].append(rate(images, options.frames, [sink]))
        with page() as sink:
            viewer = [sys.executable, "-c", VIEWER, f"http://127.0.0.1:{sink.port}"]
            with subprocess.Popen(viewer, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
                # It must have asked for the picture; what it then gets is counted.
                while not sink.wants_picture:
                    pass
                rates["one viewer"].append(rate(images, options.frames, [sink]))
                sink.close()
                taken += sum(int(line) for line in child.communicate(timeout=20)[0].split())
    results = {f"fps_{name.replace(' ', '_')}": round(statistics.median(row), 1) for name, row in rates.items()}
    for name in ("idle", "one viewer"):
        pairs = zip(rates[name], rates["without"], strict=True)
        results[f"ratio_{name.replace(' ', '_')}"] = round(statistics.median(a / b for a, b in pairs), 3)
    results["kilobytes_a_viewer_took"] = round(taken / 1000 / options.repeats)
    print(json.dumps(results, indent=1) if options.json else "\n".join(f"{k:30}{v}" for k, v in results.items()))


def page() -> WebSink:
    sink = open_sink("http://127.0.0.1:0", FRAME_RATE)
    assert isinstance(sink, WebSink)
    return sink


def rate(images: list[Image], frames: int, sinks: list[Sink]) -> float:
    """Frames a second of a run on the film, again and again."""
    classifier, settings = Classifier(Bundle.load(DEFAULT_BUNDLE)), Config()
    smoother = Smoother(classifier.labels, classifier.uncertain_below, **vars(settings.smoothing))
    finder = make_finder(settings.detector, settings.tracker, every_frame=False)
    with FakeSource(images, FRAME_RATE, loop=True) as source:
        pipeline = Pipeline(source, finder, classifier, smoother, sinks, notice=settings.privacy.notice)
        return pipeline.run(frames).fps


if __name__ == "__main__":
    main()
