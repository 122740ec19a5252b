"""Faces → probabilities, through a TFLite model."""

from __future__ import annotations

from typing import Any

import numpy as np

from .bundle import Bundle
from .errors import BundleError
from .preprocess import pixel_table
from .records import Image
from .runtime import make_interpreter
from .threads import choose_threads


class Classifier:
    """Runs a bundle's model on gray faces."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """`threads` 0 has the number chosen, see `choose_threads`.

        Raises BundleError if the model doesn't load or doesn't fit its card.
        """
        spec = bundle.card.input
        self.card = bundle.card
        self.labels = bundle.card.labels
        self.face_size = (spec.height, spec.width)
        self.crop = self.card.crop
        self.uncertain_below = self.card.uncertain_below
        try:
            if threads:
                self.threads, self._interpreter = threads, make_interpreter(bundle.model, threads)
            else:
                self.threads, self._interpreter = choose_threads(lambda count: make_interpreter(bundle.model, count))
        except BundleError as error:
            raise BundleError(f"{bundle.path}: {error}; convert the model again") from error
        sources, targets = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(sources) != 1 or len(targets) != 1:
            raise BundleError(
                f"{bundle.path}: the model has {len(sources)} inputs and {len(targets)} outputs; Mien feeds one face "
                "and takes one row of scores"
            )
        (source,), (target,) = sources, targets
        shape = (1, spec.height, spec.width, spec.channels)
        if tuple(source["shape"]) != shape:
            raise BundleError(
                f"{bundle.path}: the model's input is {source['shape'].tolist()}, its card says {list(shape)}"
            )
        if tuple(target["shape"]) != (1, len(self.labels)):
            raise BundleError(
                f"{bundle.path}: the model has {target['shape'][-1]} outputs, its card {len(self.labels)} labels"
            )
        self._input, self._output = source["index"], target["index"]
        self._fed = np.empty(shape, source["dtype"])
        self._face = self._fed.reshape(self.face_size)
        self._table = quantize_table(pixel_table(spec.scale, spec.offset), source)
        self._scale, self._zero_point = target["quantization"]
        self._quantized = np.issubdtype(target["dtype"], np.integer)

    def scores(self, faces: Image) -> np.ndarray:
        """float32 [N, labels]: each face's probabilities, from gray faces uint8 [N, height, width]."""
        if faces.dtype != np.uint8 or faces.shape[1:] != self.face_size:
            wanted = list(self.face_size)
            raise ValueError(f"faces must be uint8 [N, *{wanted}], not {faces.dtype} {list(faces.shape)}")
        scores = np.empty((len(faces), len(self.labels)), np.float32)
        for face, row in zip(faces, scores, strict=True):
            np.take(self._table, face, out=self._face, mode="clip")  # clips nothing; "raise" would make a copy
            self._interpreter.set_tensor(self._input, self._fed)
            self._interpreter.invoke()
            row[:] = self._interpreter.get_tensor(self._output)[0]
        if self._quantized:
            scores = (scores - self._zero_point) * np.float32(self._scale)
        # An int8 softmax steps by 1/256, so that its row sums to 1 only about.
        return temper(normalize(scores), self.card.temperature)


def normalize(scores: np.ndarray) -> np.ndarray:
    """float [N, labels] whose rows sum to 1; a row of zeros becomes even."""
    total = scores.sum(axis=1, keepdims=True)
    even = np.full_like(scores, 1 / scores.shape[1])
    return np.divide(scores, total, out=even, where=total > 0)  # type: ignore[no-any-return]


def temper(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities float [N, labels] as if their logits had been divided by `temperature`.

    softmax(z/T) is proportional to softmax(z)^(1/T), so that the logits themselves aren't needed.
    """
    return scores if temperature == 1 else normalize(scores ** np.float32(1 / temperature))


def quantize_table(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """`values` (float32, any shape) as an input tensor's dtype takes them: rounded to the nearest step and clipped.

    `tensor` is an entry of the interpreter's get_input_details(). A float tensor takes them as they are.
    Source: Jacob et al., https://arxiv.org/abs/1712.05877, equation 1 (real = scale·(quantized − zero point)).
    """
    if not np.issubdtype(tensor["dtype"], np.integer):
        return values.astype(tensor["dtype"])
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    steps = np.round(values / np.float32(scale)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(tensor["dtype"])  # type: ignore[no-any-return]
