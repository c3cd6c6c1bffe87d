"""TensorRT's messages, kept so that a refusal can say why."""

from __future__ import annotations

from typing import Any


def make_logger() -> Any:
    """An `ILogger` that keeps errors and prints nothing; `why()` gives the last of them."""
    import tensorrt as trt

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # the binding demands this very call
            self._errors: list[str] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self._errors.append(msg.strip())

        def why(self) -> str:
            return "; ".join(self._errors[-2:]) or "TensorRT gives no reason"

    return Logger()
