"""Runs on the device: prints, as JSON, the probabilities of each face of an .npz with `pixels` uint8 [N, 48, 48]."""

from __future__ import annotations

import json
import sys

import numpy as np

from mien.edge.bundle import DEFAULT_BUNDLE, Bundle
from mien.edge.classifier import Classifier

classifier = Classifier(Bundle.load(DEFAULT_BUNDLE))
print(json.dumps(classifier.scores(np.load(sys.argv[1])["pixels"]).tolist()))
