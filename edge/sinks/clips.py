"""Short videos around events, of what the pipeline's pictures show.

    clips:FOLDER?before=2&after=3     seconds of the picture before an event and after the last one
    &emotions=angry,sad               only where one of these begins; by default where a face comes or an emotion begins
    &keep_days=7&keep_mb=500          the oldest go first (10⁶ bytes)

This is the one sink that keeps pictures of people by itself: it is used only where somebody wrote it down.
"""

from __future__ import annotations

import re
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import cv2
import numpy as np

from ..errors import ConfigError, SinkError
from ..events import Event, EventDetector
from ..records import Image, Observation
from .background import BackgroundSink
from .base import check_writable
from .video import VideoSink

_LONGEST = 60.0
"""Seconds of one clip; where events go on, another one follows."""
_QUALITY = 85
"""Of the pictures that wait for an event, as JPEG: as they come they would fill the memory."""
_APART = 0.08
"""Least seconds between two of them: nobody may ever want them, and each costs milliseconds."""
_NAME = re.compile(r"\d{8}-\d{6}-face\d+-[^/]*\.avi")
"""What is removed when it is old: nothing else in the folder."""


class _Kept(NamedTuple):
    observation: Observation
    data: np.ndarray
    """JPEG, uint8 [bytes]."""


class ClipsSink(BackgroundSink):
    """Keeps the last seconds in memory, and writes a video when something begins."""

    wants_picture = True

    def __init__(self, target: str, frame_rate: float = 25.0) -> None:
        """`target` is the folder, which must exist, and the options. Raises ConfigError."""
        super().__init__()
        folder, _, query = target.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := set(options) - {"before", "after", "emotions", "keep_days", "keep_mb"}:
            raise ConfigError(f"clips:{target}: unknown option {min(unknown)}")
        try:
            values = {key: float(value) for key, value in options.items() if key != "emotions"}
        except ValueError:
            raise ConfigError(f"clips:{target}: all but the emotions are numbers") from None
        self._before, self._after = values.get("before", 2.0), values.get("after", 3.0)
        self._keep_days, self._keep_mb = values.get("keep_days", 7.0), values.get("keep_mb", 500.0)
        if not (0 <= self._before <= 10 and 0.1 <= self._after <= 30):
            raise ConfigError(f"clips:{target}: before is 0 to 10 seconds, after 0.1 to 30")
        if not (0 < self._keep_days <= 36_500 and 0 < self._keep_mb <= 1e6):
            raise ConfigError(f"clips:{target}: keep_days and keep_mb are more than 0")
        self._folder, self._rate = Path(folder).expanduser(), frame_rate
        self._emotions = {each for each in options.get("emotions", "").split(",") if each}
        self._detector = EventDetector()
        self._recent: deque[_Kept] = deque()
        self._clip: VideoSink | None = None
        self._begin = self._until = 0.0

    def open(self) -> None:
        if not self._folder.is_dir():
            raise SinkError(f"can't write clips to {self._folder}: make the folder first, for you alone: mkdir -m 700")
        check_writable(self._folder / "clip.avi")
        self._prune()
        super().open()

    def deliver(self, observation: Observation, picture: Image | None) -> None:
        assert picture is not None
        now = observation.frame.time
        event = next(filter(self._matters, self._detector.update(observation)), None)
        if self._clip is not None and not self._begin <= now <= self._begin + _LONGEST:
            self._end()
        if event is not None:
            self._until = now + self._after
            if self._clip is None:
                self._start(event)
        if self._clip is not None:
            if now <= self._until:
                self._write(observation, picture)
                return
            self._end()
        self._remember(observation, picture)

    def finish(self) -> None:
        if self._clip is not None:
            self._end()

    def _matters(self, event: Event) -> bool:
        if self._emotions:
            return event.kind == "emotion_began" and event.emotion in self._emotions
        return event.kind in ("face_appeared", "emotion_began")

    def _remember(self, observation: Observation, picture: Image) -> None:
        passed = observation.frame.time - self._recent[-1].observation.frame.time if self._recent else _APART
        if self._before == 0 or 0 <= passed < _APART:
            return
        good, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if good:
            self._recent.append(_Kept(observation, data))
        now = observation.frame.time
        while self._recent and not now - self._before <= self._recent[0].observation.frame.time <= now:
            self._recent.popleft()

    def _start(self, event: Event) -> None:
        moment = datetime.fromtimestamp(event.time).strftime("%Y%m%d-%H%M%S")
        what = re.sub(r"[^\w-]+", "_", event.emotion or "appeared")
        path = self._folder / f"{moment}-face{event.face}-{what}.avi"
        clip = VideoSink(str(path), self._rate)
        clip.open()
        self._clip, self._begin = clip, event.time
        recent, self._recent = self._recent, deque()
        for kept in recent:
            picture = cv2.imdecode(kept.data, cv2.IMREAD_COLOR)
            if picture is not None:
                self._write(kept.observation, picture)

    def _write(self, observation: Observation, picture: np.ndarray) -> None:
        assert self._clip is not None
        try:
            self._clip.write(observation, picture)
        except SinkError:
            self._end()  # what is written already stays
            raise

    def _end(self) -> None:
        assert self._clip is not None
        clip, self._clip = self._clip, None
        clip.close()
        self._prune()

    def _prune(self) -> None:
        """Removes what is too old, then the oldest until the rest is little enough."""
        try:
            clips = sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
            sizes = {path: path.stat() for path in clips}
            total = sum(each.st_size for each in sizes.values())
            limit = time.time() - self._keep_days * 86_400
            for path in clips:
                if sizes[path].st_mtime >= limit and total <= self._keep_mb * 1e6:
                    break
                path.unlink(missing_ok=True)
                total -= sizes[path].st_size
        except OSError as error:
            raise SinkError(f"can't look after the clips in {self._folder}: {error.strerror}") from error
