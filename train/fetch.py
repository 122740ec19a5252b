"""FER2013 from Kaggle, with the user's own credentials."""

from __future__ import annotations

from pathlib import Path

from mien.edge.errors import DataError

DATASET = "msambare/fer2013"
"""On Kaggle: 48×48 gray JPEG in folders; the file names carry the official split."""


def fetch(out: Path) -> Path:
    """Downloads FER2013 into folder `out` and returns it. Raises DataError with what to do instead."""
    by_hand = (
        f"1. download it: kaggle.com/datasets/{DATASET}, or fer2013.csv of the challenge, with your own account\n"
        f"2. put it at {out} (a folder, or point DATA= to the .zip, .tar.gz or .csv as it is)\n"
        "3. or put your Kaggle API token at ~/.kaggle/kaggle.json and run this again"
    )
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise DataError(f"{out} is there already: remove it first, or choose another --out")
    try:
        import kagglehub
        from kagglehub.config import get_kaggle_credentials
    except ImportError as error:
        raise DataError(f"kagglehub is missing: pip install 'mien[kaggle]', or\n{by_hand}") from error
    try:
        if get_kaggle_credentials() is None:
            raise PermissionError("no credentials were found")
        kagglehub.dataset_download(DATASET, output_dir=str(out))
    except Exception as error:  # kagglehub raises its own and requests' errors, and documents neither
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"Kaggle didn't give {DATASET} ({reason}):\n{by_hand}") from error
    return out
