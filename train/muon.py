"""Keras' Muon, for convolutions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mien")
class Muon(keras.optimizers.Muon):
    """Makes steps of convolutions' kernels orthogonal, so that all directions are learned alike; the rest gets AdamW.

    Keras' own takes matrices alone. A kernel [height, width, in, out] is one of `out` columns, as its author has it:
    Jordan et al., https://kellerjordan.github.io/posts/muon. A step is as long as AdamW's of that rate would be
    (Liu et al., https://arxiv.org/abs/2502.16982).
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        # A depthwise kernel's pictures don't mix: it is no matrix.
        return len(variable.shape) != 4 or variable.shape[3] == 1

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """A step of one weight."""
        if variable.constraint is not None and not self._should_use_adamw(variable):
            # A mirrored kernel's step has to be mirrored before it is made orthogonal: later it would no longer be.
            gradient = variable.constraint(gradient)
        super().update_step(gradient, variable, learning_rate)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """The nearest orthogonal matrix, about: [height, width, in, out] of the same shape."""
        return ops.reshape(super().zeropower_via_newtonschulz5(ops.reshape(x, (-1, x.shape[-1])), steps), x.shape)

    def lr_adjust(self, x: Any) -> Any:
        """A step of a matrix's, whose values are of AdamW's size."""
        return ops.reshape(super().lr_adjust(ops.reshape(x, (-1, x.shape[-1]))), x.shape)
