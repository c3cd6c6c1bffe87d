"""Finds backends: the folder is the registry, outsiders come by entry point or by `FILE:CLASS`.

A module of the package `edgebench.backends`, or an entry point of the group `edgebench.backends`, is
a backend of that name; it holds (or is) a subclass of `Backend`, in a module as `BACKEND`. Nothing is
opened here and no runtime is imported. A backend that cannot be imported is *broken* and says why;
it is never taken for one that does not exist.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from edgebench.backend import Backend, Capabilities, ModelFile, Ready, Scalar, Session, Unavailable
from edgebench.errors import UsageError
from edgebench.files.regular_file import open_regular
from edgebench.text.did_you_mean import did_you_mean

GROUP = "edgebench.backends"  # the package of the shipped ones, and the group of entry points
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Holds where a named backend comes from: a module, or `module:attribute` of an entry point."""

    name: str
    target: str
    origin: str  # for people


class BrokenBackend(Backend):
    """Stands for a backend whose module cannot be imported, so that every command can say why."""

    summary = "cannot be imported"
    capabilities = Capabilities(formats=(), precisions=(), options=(), device_kinds=())

    def __init__(self, name: str, reason: str, fix: str) -> None:
        # Per instance here: there is no class of its own for each broken module.
        self.name = name  # type: ignore[misc]
        self._why = Unavailable("broken", reason, fix)

    def availability(self) -> Ready | Unavailable:
        return self._why

    def import_runtime(self) -> str:
        raise ImportError(self._why.reason)

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        raise ImportError(self._why.reason)


def names() -> list[str]:
    """Every backend that can be asked for by name. Raises UsageError where a name is taken twice."""
    return sorted(_sources())


def every() -> list[Backend]:
    """All backends that have a name, sorted by it. Raises UsageError as `names` does.

    What is installed is looked through once, which takes longer than to load a backend.
    """
    sources = _sources()
    return [_load_source(sources[name]) for name in sorted(sources)]


def load(spec: str) -> Backend:
    """The backend of a name, or of `path/file.py:Class` or `module:Class`.

    One that cannot be imported comes back as `BrokenBackend`, whose availability gives the cause.
    Raises UsageError for a name nobody knows, and for a specification that makes no sense.
    """
    if ":" in spec:
        try:
            return _instantiate(load_class(spec, Backend))
        except ImportError as error:
            return _broken(spec, spec, error.__cause__ or error)
    sources = _sources()
    if spec not in sources:
        raise UsageError(
            f"no backend {spec!r}{did_you_mean(spec, sources)}",
            "`edgebench list backends` shows all; one of your own comes as FILE.py:CLASS",
        )
    return _load_source(sources[spec])


def absolute(spec: str) -> str:
    """The specification with the path of its file made absolute, for another process."""
    target, _, attribute = spec.rpartition(":")
    return f"{Path(target).expanduser().resolve()}:{attribute}" if target.endswith(".py") else spec


def direct(spec: str) -> str:
    """The specification by which another process loads the backend without looking through all that is
    installed. One that does not come with edgebench stays as it is."""
    targets = {source.name: source.target for source in _shipped()}
    return f"{targets[spec]}:BACKEND" if spec in targets else spec


def load_class(spec: str, base: type[T]) -> type[T]:
    """The subclass of `base` that `path/file.py:Class` or `module:Class` names.

    Raises UsageError for a file, module or class that is not there, or a class of another kind;
    ImportError, with the cause, for a module that fails while it is imported.
    """
    target, _, attribute = spec.rpartition(":")
    if not target or not attribute:
        raise UsageError(f"{spec!r} is not FILE.py:CLASS or MODULE:CLASS")
    module = _import_file(Path(target)) if target.endswith(".py") else _import_named(target)
    backend_class = getattr(module, attribute, None)
    if isinstance(backend_class, type) and issubclass(backend_class, base):
        return backend_class
    fitting = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__name__ == name != base.__name__
    ]
    if backend_class is None:
        raise UsageError(f"{target} has no {attribute!r}{did_you_mean(attribute, fitting)}")
    raise UsageError(f"{spec} is not a {base.__name__}{did_you_mean(attribute, fitting)}")


def _sources() -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for source in [*_shipped(), *_entry_points()]:
        other = sources.setdefault(source.name, source)
        if other is not source:
            raise UsageError(
                f"two backends are called {source.name!r}: {other.origin} and {source.origin}",
                "uninstall one of them, or rename it",
            )
    return sources


def _shipped() -> list[Source]:
    import pkgutil

    package = importlib.import_module(GROUP)
    modules = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return [Source(n, f"{package.__name__}.{n}", f"{package.__name__}.{n}") for n in modules]


def _entry_points() -> list[Source]:
    import importlib.metadata

    points = {  # the same distribution may be found twice on sys.path
        (point.name, point.value): point for point in importlib.metadata.entry_points(group=GROUP)
    }
    return [
        Source(
            name, value, f"{value} (of the distribution {point.dist.name if point.dist else '?'})"
        )
        for (name, value), point in sorted(points.items())
    ]


def _load_source(source: Source) -> Backend:
    module_name, _, attribute = source.target.partition(":")
    try:
        backend = _instantiate(getattr(_import(module_name), attribute or "BACKEND"))
        if backend.name != source.name:
            raise ImportError(
                f"it calls itself {backend.name!r}, and must be called {source.name!r}"
            )
    except (ImportError, AttributeError) as error:
        return _broken(source.name, source.origin, error.__cause__ or error)
    return backend


def _instantiate(kind: Any) -> Backend:
    """An instance. Raises ImportError where the class cannot make one."""
    try:
        backend = kind()
    except Exception as error:  # a stranger's class may raise anything; it is reported, not lost
        raise ImportError(f"{kind!r} cannot be instantiated") from error
    if not isinstance(backend, Backend):
        raise ImportError(f"{kind!r} is not a subclass of edgebench.backend.Backend")  # noqa: TRY004
    return backend


def _broken(name: str, origin: str, cause: BaseException) -> BrokenBackend:
    reason = f"the backend {origin} cannot be loaded: {type(cause).__name__}: {cause}"
    return BrokenBackend(name, reason, "repair or reinstall what it names, then try again")


def _import_named(name: str) -> ModuleType:
    try:
        return _import(name)
    except ImportError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            fix = "name an importable module, or a file: FILE.py:CLASS"
            raise UsageError(f"no module {name!r}", fix) from None
        raise


def _import_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    try:
        open_regular(path).close()  # Python's import waits for a pipe without end
    except FileNotFoundError:
        raise UsageError(f"no file {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"edgebench_file_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's module may raise anything; it is reported, not lost
        del sys.modules[name]
        raise ImportError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a runtime's binding may raise anything; it is reported, not lost
        raise ImportError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
