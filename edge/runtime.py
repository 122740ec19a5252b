"""LiteRT or tflite-runtime behind one function."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

from .errors import BundleError, RuntimeMissing
from .quiet import hushed

# LiteRT is several times as fast (float32) and maintained; tflite-runtime is for machines that it
# has no wheel for, such as 32-bit Raspberry Pi OS.
_RUNTIMES = (("ai-edge-litert", "ai_edge_litert.interpreter"), ("tflite-runtime", "tflite_runtime.interpreter"))


def _load() -> tuple[str, Any]:
    reasons = []
    for name, module in _RUNTIMES:
        try:
            return name, importlib.import_module(module)
        except ImportError as error:
            reasons.append(f"{name}: {error}")
    raise RuntimeMissing(f"no TFLite runtime: pip install ai-edge-litert ({'; '.join(reasons)})")


def runtime_name() -> str:
    """The runtime in use and its version, such as ``ai-edge-litert 2.1.0``. Raises RuntimeMissing."""
    name, _ = _load()
    return f"{name} {version(name)}"


def make_interpreter(model: bytes, threads: int = 1) -> Any:
    """An interpreter of a TFLite model with its tensors allocated.

    Raises RuntimeMissing without a runtime, BundleError if the runtime can't load the model.
    """
    name, module = _load()
    try:
        with hushed():  # XNNPACK introduces itself on standard error
            interpreter = module.Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"{name} can't load the model: {reason}") from error
    return interpreter
