"""Builds the objects of a run from its configuration, and runs it."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator

from .bundle import Bundle, find_bundle
from .classifier import Classifier
from .config import Config
from .errors import MienError
from .finder import Finder, make_finder
from .pipeline import Pipeline
from .service import Notifier, ServiceSink, log_to_journal
from .sinks import Sink, open_sink
from .sinks.background import detached
from .sinks.patient import Patient
from .smoother import Smoother
from .sources import Patience, open_source, without_password
from .stats import Stats

log = logging.getLogger(__name__)


def run(
    settings: Config, max_frames: int | None, *more_sinks: Sink, reread: Callable[[], Config] | None = None
) -> Stats:
    """Builds a run and runs it; as a service it goes on with what `reread` gives at SIGHUP."""
    log_to_journal()
    notifier = Notifier()
    source = open_source(settings.source, settings.loop, Patience(from_start=notifier.is_there))

    def parts(wanted: Config) -> tuple[Finder, Classifier, Smoother, bool]:
        classifier = Classifier(Bundle.load(find_bundle(wanted.model)), wanted.threads)
        every_frame = wanted.detector.every_frame or not source.related
        finder = make_finder(wanted.detector, wanted.tracker, every_frame)
        smoother = Smoother(classifier.labels, classifier.uncertain_below, **vars(wanted.smoothing))
        return finder, classifier, smoother, wanted.overlay

    finder, classifier, smoother, overlay = parts(settings)

    def reload() -> None:
        if reread is None:
            return
        notifier.reloading()
        try:
            wanted = reread()
            pipeline.replace(*parts(wanted))
            log.info("configuration and model were read again")
            if (wanted.source, wanted.sinks, wanted.name) != (settings.source, settings.sinks, settings.name):
                log.warning("another source, sinks or name need a restart")
        except MienError as error:
            log.error("goes on as before: %s", error)
        notifier.send(READY=1)

    ends = {signal.SIGINT: source.stop, signal.SIGTERM: source.stop}
    with _signals(ends), source, contextlib.ExitStack() as stack:
        sinks = [open_sink(uri, source.frame_rate, settings) for uri in settings.sinks]
        if source.live:
            sinks = [detached(sink) for sink in sinks]
        if notifier.is_there:
            sinks = [Patient(sink) for sink in sinks]
        sinks += more_sinks
        if notifier.is_there:
            sinks.append(ServiceSink(notifier))
        elif sys.stderr.isatty() and "jsonl:-" not in settings.sinks:
            from .sinks.terminal import TerminalSink

            known = [count for count in (source.length, max_frames) if count is not None]
            sinks.append(TerminalSink(min(known, default=None)))
        for sink in sinks:
            stack.enter_context(sink)
        pipeline = Pipeline(
            source,
            finder,
            classifier,
            smoother,
            sinks,
            overlay,
            without_password(settings.source),
            f"{classifier.card.name} {classifier.card.version}",
            notice=settings.privacy.notice,
            blur=settings.privacy.blur,
        )
        # Outside of a service SIGHUP says that the terminal is gone, which is to end the run.
        with _signals({signal.SIGHUP: reload} if notifier.is_there else {}):
            return pipeline.run(max_frames)


@contextlib.contextmanager
def _signals(actions: dict[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Does these at signals instead of what happens otherwise."""
    before = {number: signal.signal(number, lambda *_, act=act: act()) for number, act in actions.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
