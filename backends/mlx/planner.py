"""Holds what operators may ask of the walk that plans them; `trace.Tracer` is the only one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Planner(Protocol):
    device: str
    policy: str  # the type that float32 is computed in

    def policy_name(self, dtype: str) -> str: ...

    def constant(self, node: Any, value: Any) -> Any: ...

    def static(self, node: Any, value: Any) -> Any: ...

    def quantised(self, node: Any, a: Any, b: Any) -> Any | None: ...

    def graph(self, graph: Any, env: dict[str, Any], scope: Any) -> list[Any]: ...

    def emit(
        self, call: Any, operator: str, inputs: list[Any], **attributes: Any
    ) -> Sequence[Any]: ...
