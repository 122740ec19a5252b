"""How the engine's cost grows with faces, resolution and frame rate: measured on one thread, and a model fitted to it.

    python tests/bench/scaling.py [--repeats N] [--speed TIMES ...]

The model: milliseconds a frame = base + pixels · megapixels + scan / rate + faces · (face + check / rate). The search
for new faces and the checks of known ones go by time, the rest by frames. `--speed` predicts for a core that is so many
times as fast as this one.
"""

from __future__ import annotations

import argparse
import itertools
import statistics

import cv2
import numpy as np
from engine import Timed, observe

from mien.edge.demo import _PHOTOGRAPHS, find_photograph
from mien.edge.detector import HaarDetector
from mien.edge.preprocess import to_gray
from mien.edge.sources.pictures import read_picture

FACES, HEIGHTS, RATES = (1, 2, 4, 8), (240, 480, 1080), (10, 30)
TERMS = ("base", "per megapixel", "scan, per second", "per face", "check, per face and second")
FRAMES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--speed", type=float, nargs="*", default=[])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    face = portrait()
    cases = list(itertools.product(FACES, HEIGHTS, RATES))
    films = {case: film(face, *case) for case in cases}
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(options.repeats):
        for case, row in zip(cases, times, strict=True):
            row.append(statistics.mean(observe(films[case])[1][FRAMES // 4 :]))
    measured = np.array([statistics.median(row) for row in times])
    # Weighted so that the relative errors are least: small frames count as much as large ones.
    matrix = np.array([terms(*case) for case in cases])
    weights = fit(matrix / measured[:, None])
    fitted = matrix @ weights
    print(f"{'faces':>5} {'height':>6} {'rate':>4} {'ms':>7} {'model':>7}")
    for (faces, height, rate), ms, model in zip(cases, measured, fitted, strict=True):
        print(f"{faces:5} {height:6} {rate:4} {ms:7.2f} {model:7.2f}")
    errors = np.abs(fitted / measured - 1)
    print(f"\nmodel against measurement: {errors.mean():.0%} off in the mean, {errors.max():.0%} at most\n")
    for name, weight in zip(TERMS, weights, strict=True):
        print(f"{name:28} {weight:8.3f} ms")
    print(f"\n{'core':>14}  {'faces':>5}  ms a frame at 15, 30 frames/s   share of a core   highest rate")
    for speed, faces in itertools.product((1.0, *options.speed), (1, 3, 8)):
        ms = {rate: float(np.dot(terms(faces, 480, rate), weights)) / speed for rate in (15, 30)}
        shares = ", ".join(f"{ms[rate] * rate / 1000:.0%}" for rate in ms)
        row = ", ".join(f"{value:.1f}" for value in ms.values())
        print(f"{speed:5.2f} × this  {faces:5}  {row:>28}   {shares:>15}   {highest_rate(weights / speed, faces):>12}")


def fit(matrix: np.ndarray) -> np.ndarray:
    """The weights ≥ 0 by which the columns sum to 1 as nearly as can be: a negative one is left out."""
    used = list(range(matrix.shape[1]))
    while True:
        weights, *_ = np.linalg.lstsq(matrix[:, used], np.ones(len(matrix)), rcond=None)
        if weights.min() >= 0:
            result = np.zeros(matrix.shape[1])
            result[used] = weights
            return result
        del used[int(weights.argmin())]


def terms(faces: int, height: int, rate: float) -> list[float]:
    return [1, height * height * 4 / 3 / 1e6, 1 / rate, faces, faces / rate]


def highest_rate(weights: np.ndarray, faces: int, most: int = 60) -> str:
    """The frames a second of 640×480 at which a core is busy all the time; the model isn't asked beyond `most`."""
    by_frame = weights[0] + weights[1] * terms(faces, 480, 1)[1] + weights[3] * faces
    by_time = weights[2] + weights[4] * faces
    rate = (1000 - by_time) / by_frame
    return f"> {most}" if rate > most else f"{max(0, rate):.0f}"


def portrait() -> np.ndarray:
    """uint8 [150, 150, 3]: the astronaut's face with what is around it."""
    image = read_picture(find_photograph(*_PHOTOGRAPHS[0]))
    box = max(HaarDetector().detect(to_gray(image)), key=lambda box: box.width)
    margin = box.width // 3
    around = image[box.y - margin : box.y + box.height + margin, box.x - margin : box.x + box.width + margin]
    return cv2.resize(around, (150, 150))


def film(face: np.ndarray, faces: int, height: int, rate: int) -> list[Timed]:
    """A still scene at 4 to 3 with a face so many times over, and a camera's noise."""
    picture = np.full((480, 640, 3), 90, np.uint8)
    for i in range(faces):
        row, column = divmod(i, 4)
        picture[80 + 170 * row : 230 + 170 * row, 5 + 157 * column : 155 + 157 * column] = face
    picture = cv2.resize(
        picture, (height * 4 // 3, height), interpolation=cv2.INTER_AREA if height < 480 else cv2.INTER_LINEAR
    )
    noise = np.random.default_rng(0).integers(-3, 4, (4, *picture.shape[:2], 1), np.int8).astype(np.int16)
    noisy = [np.clip(picture + each, 0, 255).astype(np.uint8) for each in noise]
    return [(i / rate, noisy[i % len(noisy)]) for i in range(FRAMES)]


if __name__ == "__main__":
    main()
