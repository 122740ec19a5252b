"""The commands about data: data, crop, fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mien.edge.dataset import Dataset

DataOption = Annotated[
    Path, typer.Option("--data", help="CSV, folder, .zip or .tar.gz of labelled faces.", show_default=False)
]
ClassesOption = Annotated[str, typer.Option(help="five, seven, all (those of a folder), or names with commas between.")]
SkipBadOption = Annotated[bool, typer.Option("--skip-bad", help="Leave out bad rows and files instead of stopping.")]


def add_commands(app: typer.Typer) -> None:
    """Adds them to the application."""
    for command in (data, crop, fetch):
        app.command()(command)


def data(
    path: Annotated[Path, typer.Argument(help="CSV, folder, .zip or .tar.gz of labelled faces.", show_default=False)],
    classes: ClassesOption = "five",
    skip_bad: SkipBadOption = False,
    sheet: Annotated[Path, typer.Option(help="Where to write the contact sheet.")] = Path("out/faces.png"),
    seed: Annotated[int, typer.Option(help="Draws the sheet's faces, and a validation split where there is none.")] = 0,
) -> None:
    """Print a data set's counts per split and class, and write a contact sheet of its faces."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from mien.edge.dataset import read_dataset
    from mien.edge.errors import ConfigError

    from .plots import face_sheet

    with reading(path) as progress:
        dataset = read_dataset(path, classes, skip_bad=skip_bad, seed=seed, progress=progress)
    counts = dataset.counts()
    table = Table("class", *counts, title=str(path), title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for label in dataset.classes:
        table.add_row(label, *(f"{split[label]:,}" for split in counts.values()))
    table.add_section()
    table.add_row("total", *(f"{sum(split.values()):,}" for split in counts.values()))
    Console().print(table)
    print(f"fingerprint {dataset.fingerprint[:16]}")
    print_notices(dataset)
    split, faces = next(iter(dataset.splits.items()))
    rng = np.random.default_rng(seed)
    rows = {}
    for number, label in enumerate(dataset.classes):
        members = np.flatnonzero(faces.labels == number)
        rows[label] = faces.take(rng.permutation(members)[:16])
    try:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        face_sheet(sheet, rows, f"{path.name}, {split}")
    except OSError as error:
        raise ConfigError(f"can't write {sheet}: {error.strerror}; choose another --sheet") from error
    print(f"contact sheet: {sheet}")


def crop(
    data: DataOption,
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[VIDEO]…", help="Films in which the faces' framing is compared.", show_default=False),
    ] = None,
    faces: Annotated[int, typer.Option(min=20, help="Training faces to look at.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Draws those faces.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how a data set frames its faces, against the boxes of the device's face detector."""
    import json
    from dataclasses import asdict

    import numpy as np
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from mien.edge.dataset import read_dataset

    from .framing import Eyes, faces_of_video, measure_eyes, measure_framing

    with reading(data) as progress:
        dataset = read_dataset(data, "seven", progress=progress)
    train = dataset.splits["train"]
    errors = Console(stderr=True)
    steps = iter(track(range(min(faces, len(train))), "Finding faces", console=errors, disable=not errors.is_terminal))
    framing = measure_framing(train, faces, seed, lambda: next(steps, None))
    sample = train.take(np.random.default_rng(seed).permutation(len(train))[:faces])
    eyes: dict[str, Eyes | None] = {data.name: measure_eyes(sample)}
    for video in videos or []:
        eyes[video.name] = measure_eyes(faces_of_video(video, framing.crop, train.store.shape[1]))
    if as_json:
        print(
            json.dumps(
                {**framing.to_json(), "eyes": {name: each and asdict(each) for name, each in eyes.items()}}, indent=1
            )
        )
        return
    table = Table("share of the face's side", "5 %", "median", "95 %", title=str(data), title_justify="left")
    for name, row in (("box, to the right", framing.dx), ("box, down", framing.dy), ("box, side", framing.size)):
        table.add_row(name, *(f"{value:+.3f}" if "side" not in name else f"{value:.3f}" for value in row))
    Console().print(table)
    found = framing.crop
    print(f"a face was found in {framing.found:,} of {framing.faces:,}; for a recipe:")
    print(f"[crop]\nscale = {found.scale:g}\ndx = {found.dx:g}\ndy = {found.dy:g}")
    table = Table("eyes in faces so cut", "faces", "middle, x", "middle, y", "distance")
    for name, each in eyes.items():
        figures = (f"{each.faces:,}", *(f"{v:.3f}" for v in (each.x, each.y, each.distance))) if each else ("too few",)
        table.add_row(name, *figures)
    Console().print(table)


def fetch(
    out: Annotated[Path, typer.Option(help="Folder for FER2013; made if missing.")] = Path("data/fer2013"),
) -> None:
    """Download FER2013 from Kaggle with your own credentials, or say where to put it."""
    from .fetch import fetch as download

    print(f"FER2013 is in {download(out)}")


def print_notices(dataset: Dataset) -> None:
    """What reading a data set had to say, on standard error."""
    for notice in dataset.notices:
        typer.echo(f"note: {notice}", err=True)


@contextmanager
def reading(path: Path) -> Iterator[Callable[[int], None]]:
    """Shows how many faces were read, where standard error is a terminal."""
    from rich.console import Console

    with Console(stderr=True).status(f"reading {path} …") as status:
        yield lambda count: status.update(f"reading {path} … {count:,} faces")
