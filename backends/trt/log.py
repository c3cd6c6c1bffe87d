"""TensorRT's messages, kept so that a refusal can say why."""

from __future__ import annotations

from typing import Any

from . import library

#: What a builder's message begins with that lists the layers of the engine it made.
_LAYERS = "Layers:"


def make_logger() -> Any:
    """An `ILogger` that keeps errors and prints nothing; `why()` gives the last of them.

    `layers` is what a builder tells of the engine's layers, a line each: the only word on them where no GPU is there to load it.
    """
    trt = library.load()
    base: Any = trt.ILogger

    class Logger(base):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # the binding demands this very call
            self._errors: list[str] = []
            self.layers: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self._errors.append(msg.strip())
            elif msg.startswith(_LAYERS):
                self.layers = msg.splitlines()[1:]

        def why(self) -> str:
            return "; ".join(self._errors[-2:]) or "TensorRT gives no reason"

    return Logger()
