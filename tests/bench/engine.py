"""The engine against two loops that search every frame, side by side in one run, on one thread.

    python tests/bench/engine.py FOLDER-OF-FACE-VIDEOS [--json]

The reference loop is the classic one: Haar with its defaults on every frame, then Keras' predict for each face. The
second has the engine's own TFLite model in place of Keras. Ratios are medians over repeats in which all take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.edge.bundle import DEFAULT_BUNDLE, Bundle
from mien.edge.classifier import Classifier
from mien.edge.demo import write_moving_picture
from mien.edge.detector import CASCADE, HaarDetector
from mien.edge.finder import Following
from mien.edge.pipeline import Pipeline
from mien.edge.preprocess import to_gray
from mien.edge.quiet import quiet
from mien.edge.records import Box, Frame, Observation
from mien.edge.smoother import Smoother
from mien.edge.sources import open_source
from mien.edge.sources.fake import FakeSource
from mien.edge.tracker import Tracker, intersection_over_union

Timed = tuple[float, np.ndarray]
"""A frame's time in seconds, and its picture uint8 [H, W, 3]."""

REFERENCE_FRAMES = 6
"""Frames of each film that the slow loops take, evenly spread."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo.avi"
        write_moving_picture(demo)
        paths = sorted([*options.videos.glob("*.mkv"), *options.videos.glob("*.gif")])
        films = {path.stem: read(path) for path in [*paths, demo]}
        start_ms, rss_mb = startup(films, Path(folder))
    results: dict[str, Any] = {"start_to_first_result_s": start_ms, "peak_rss_mb": rss_mb}
    results |= speeds(films, options.repeats)
    results |= faithfulness(films)
    results |= scaling(films)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        for name, value in results.items():
            print(f"{name:44}{value:10.4g}" if isinstance(value, float) else f"{name:44}{value}")


def read(path: Path) -> list[Timed]:
    with open_source(str(path)) as source:
        return [(frame.time, frame.image) for frame in source]


def engine() -> Pipeline:
    classifier = Classifier(Bundle.load(DEFAULT_BUNDLE))
    smoother = Smoother(classifier.labels, classifier.uncertain_below)
    return Pipeline(FakeSource([]), Following(HaarDetector(), Tracker()), classifier, smoother, [])


def observe(film: Sequence[Timed]) -> tuple[list[Observation], list[float]]:
    """What the engine says of each frame, and the milliseconds that it took from the decoded frame on."""
    pipeline, seen, times = engine(), [], []
    for index, (moment, image) in enumerate(film):
        start = time.perf_counter()
        seen.append(pipeline.observe(Frame(index, moment, image, to_gray(image))))
        times.append(1000 * (time.perf_counter() - start))
    return seen, times


def keras_reader() -> Callable[[np.ndarray], Any]:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with quiet():
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        from mien.train.model import build

        network = build("reference", (48, 48, 1), 5)
        network.predict(np.zeros((1, 48, 48, 1), np.float32), verbose=0)
    return lambda face: network.predict(face[np.newaxis, ..., np.newaxis].astype(np.float32) / 255, verbose=0)


def loop(frames: Sequence[Timed], read_face: Callable[[np.ndarray], Any]) -> float:
    """Mean milliseconds a frame of a loop that searches each frame with the cascade's defaults."""
    cascade = cv2.CascadeClassifier(str(CASCADE))
    start = time.perf_counter()
    for _, image in frames:
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        for x, y, width, height in cascade.detectMultiScale(gray):
            read_face(cv2.resize(gray[y : y + height, x : x + width], (48, 48)))
    return 1000 * (time.perf_counter() - start) / len(frames)


def speeds(films: dict[str, list[Timed]], repeats: int) -> dict[str, Any]:
    """Frame rates against both loops, each film counted alike; and how even the engine's frames are."""
    by_keras, classifier = keras_reader(), Classifier(Bundle.load(DEFAULT_BUNDLE))

    def by_tflite(face: np.ndarray) -> Any:
        return classifier.scores(face[np.newaxis].astype(np.uint8))

    rows = []
    frames: list[float] = []
    for _ in range(repeats):
        means: dict[str, list[float]] = {"reference": [], "tflite": [], "engine": []}
        for film in films.values():
            some = [film[i] for i in np.linspace(0, len(film) - 1, REFERENCE_FRAMES).astype(int)]
            means["reference"].append(loop(some, by_keras))
            means["tflite"].append(loop(some, by_tflite))
            times = observe(film)[1]
            means["engine"].append(statistics.mean(times))
            frames += times
        rows.append({name: statistics.mean(values) for name, values in means.items()})
    print("\n".join(str({k: round(v, 2) for k, v in row.items()}) for row in rows), file=sys.stderr)
    return {
        "engine_ms_per_frame": statistics.median(row["engine"] for row in rows),
        "reference_loop_ms_per_frame": statistics.median(row["reference"] for row in rows),
        "tflite_loop_ms_per_frame": statistics.median(row["tflite"] for row in rows),
        "against_reference_loop": statistics.median(row["reference"] / row["engine"] for row in rows),
        "against_tflite_loop": statistics.median(row["tflite"] / row["engine"] for row in rows),
        "p99_to_median_frame": float(np.percentile(frames, 99) / np.median(frames)),
    }


def lasting(boxes: Sequence[Sequence[Box]], overlap: float = 0.4, least: int = 3) -> list[list[Box]]:
    """The boxes of each frame that belong to a run of at least `least` successive frames."""
    runs: list[list[tuple[int, Box]]] = []
    open_runs: list[list[tuple[int, Box]]] = []
    for index, row in enumerate(boxes):
        going, left = [], list(row)
        for run in open_runs:
            best = max(left, key=lambda box: intersection_over_union(run[-1][1], box), default=None)
            if best is not None and intersection_over_union(run[-1][1], best) >= overlap:
                left.remove(best)
                run.append((index, best))
                going.append(run)
        new = [[(index, box)] for box in left]
        runs += new
        open_runs = going + new
    found: list[list[Box]] = [[] for _ in boxes]
    for run in runs:
        if len(run) >= least:
            for index, box in run:
                found[index].append(box)
    return found


def faithfulness(films: dict[str, list[Timed]]) -> dict[str, Any]:
    """What the engine finds of what a search of every whole frame finds, and how steady its labels are."""
    hits = total = wrong = wrong_whole = frames = 0
    changes = {"raw": 0, "smoothed": 0}
    for name, film in films.items():
        detector = HaarDetector()
        whole = [detector.detect(to_gray(image)) for _, image in film]
        true = lasting(whole)
        seen, _ = observe(film)
        frames += len(film)
        for row, observation, every in zip(true, seen, whole, strict=True):
            boxes = [reading.face.box for reading in observation.readings]
            total += len(row)
            hits += sum(any(intersection_over_union(box, other) >= 0.4 for other in boxes) for box in row)
            wrong += sum(not any(intersection_over_union(box, other) >= 0.3 for other in row) for box in boxes)
            wrong_whole += len(every) - len(row)
        if name not in ("demo", "head-pose-face-detection-male", "face-demographics-walking-and-pause"):
            for kind, count in label_changes(seen).items():
                changes[kind] += count
    return {
        "recall_of_whole_search": hits / total,
        "false_faces_per_100_frames": 100 * wrong / frames,
        "false_faces_per_100_frames_of_whole_search": 100 * wrong_whole / frames,
        "label_changes_of_signers": changes["smoothed"],
        "label_changes_of_signers_unsmoothed": changes["raw"],
    }


def label_changes(seen: Sequence[Observation]) -> dict[str, int]:
    """How often the label of a face changes from one frame to the next."""
    last: dict[tuple[str, int], str] = {}
    changes = {"raw": 0, "smoothed": 0}
    for observation in seen:
        for reading in observation.readings:
            for kind, label in (("raw", reading.likeliest[0]), ("smoothed", reading.emotion)):
                key = kind, reading.face.id
                changes[kind] += last.get(key, label) != label
                last[key] = label
    return changes


def scaling(films: dict[str, list[Timed]]) -> dict[str, Any]:
    """Cost of further faces and of more pixels, and how soon a new face is found."""
    image = films["head-pose-face-detection-male"][0][1]
    box = max(HaarDetector().detect(to_gray(image)), key=lambda box: box.width)
    margin = box.width // 3
    face = cv2.resize(
        image[box.y - margin : box.y + box.height + margin, box.x - margin : box.x + box.width + margin], (150, 150)
    )
    costs = {}
    for count in (1, 8):
        picture = np.full((480, 640, 3), 90, np.uint8)
        for i in range(count):
            row, column = divmod(i, 4)
            picture[80 + 170 * row : 230 + 170 * row, 5 + 157 * column : 155 + 157 * column] = face
        rng = np.random.default_rng(0)
        noisy = [np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8) for _ in range(40)]
        film = [(i / 25, each) for i, each in enumerate(noisy)]
        seen, _ = observe(film)
        found = len(seen[-1].readings)
        if found != count:
            raise SystemExit(f"{found} of {count} pasted faces were found")
        costs[count] = statistics.median(statistics.mean(observe(film)[1][5:]) for _ in range(5))
    small = films["again"]
    large = [(moment, cv2.resize(image, (1920, 1440))[180:1260]) for moment, image in small]
    small = [(moment, image[60:420]) for moment, image in small]
    pairs = [(statistics.mean(observe(large)[1]), statistics.mean(observe(small)[1])) for _ in range(3)]
    waits = [wait(films["demo"], offset) for offset in range(6)]
    return {
        "ms_per_further_face": (costs[8] - costs[1]) / 7,
        "1080p_against_360p": statistics.median(a / b for a, b in pairs),
        "new_face_found_after_s_at_15_fps": max(waits),
    }


def wait(demo: Sequence[Timed], offset: int) -> float:
    """Seconds until a face that appears in a still scene is found, at 15 frames a second."""
    astronaut = demo[0][1]
    x = 40 + 30 * offset
    empty = np.full_like(astronaut, 90)
    entered = empty.copy()
    entered[100:400, x : x + 300] = cv2.resize(astronaut[60:420, 140:500], (300, 300))
    film = [(i / 15, empty) for i in range(10 + offset)] + [((10 + offset + i) / 15, entered) for i in range(20)]
    seen, _ = observe(film)
    first = next((i for i, observation in enumerate(seen) if observation.readings), None)
    return float("inf") if first is None else (first - 10 - offset + 1) / 15


def startup(films: dict[str, list[Timed]], folder: Path) -> tuple[float, float]:
    """Seconds from the start of a process to its first line, and the largest memory of a run, one face, VGA."""
    film = folder / "vga.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 25, (640, 480))
    for _, image in films["again"]:
        writer.write(image)
    writer.release()
    command = [str(Path(sys.executable).with_name("mien")), "run", str(film)]
    waits = []
    for _ in range(5):
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout is not None
        child.stdout.readline()
        waits.append(time.perf_counter() - start)
        child.kill()
        child.communicate()
    stats = folder / "stats.json"
    subprocess.run([*command, "--stats", str(stats)], check=True, capture_output=True)
    return statistics.median(waits), json.loads(stats.read_text())["peak_rss_mb"]


if __name__ == "__main__":
    main()
