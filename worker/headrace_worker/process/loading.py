"""Loads the app that MODULE:APP names, or a codec; an error says in one line what is wrong."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from headrace import ConfigurationError, PayloadCodec
from headrace.formats.seal import check_codec
from headrace_worker.app.app import App
from headrace_worker.logs.logger import get_logger

log = get_logger("headrace.worker")


class AppNotLoaded(ConfigurationError):
    """MODULE:APP, the `target`, names no app that can be loaded; `reason` says why."""

    def __init__(self, target: str, reason: str) -> None:
        self.target = target
        self.reason = reason
        super().__init__(f"can't load {target!r}: {reason}")


def load_app(target: str) -> App:
    """Return the app that `MODULE:APP` names, with the jobs of its modules; the current folder is searched, too.

    Raises:
        AppNotLoaded: the form, the module, the attribute or what it holds is at fault, a module of the app can't be
            imported, or the app has no jobs; the message says which.
    """
    module_name, _, name = target.partition(":")
    if not _is_reference(module_name, name):
        raise AppNotLoaded(target, f"it must be MODULE:APP, such as {_likely_meant(module_name, name)}")
    module = _import(target, module_name)
    found = getattr(module, name, None)
    if isinstance(found, App):
        for each in found.modules:
            _import(target, each, f"; App({found.name!r}, modules=…) names it")
        if not (found.jobs or found.dispatch_only):
            # In the log too: of an ended container often only the log is kept.
            log.warning("app has no jobs; is the module that defines them imported?", app=found.name)
            raise AppNotLoaded(target, _no_jobs(found))
        return found
    raise AppNotLoaded(target, _attribute_fault(module, name))


def _no_jobs(app: App) -> str:
    return (
        f"app {app.name!r} has no jobs; is the module that defines them imported? "
        f"An app that only dispatches says so: App({app.name!r}, dispatch_only=True)"
    )


def load_codec(target: str) -> PayloadCodec:
    """Return the codec that `MODULE:OBJECT` names, looked up like apps.

    Raises:
        ConfigurationError: the form, the module, the attribute or what it holds is at fault; the message says which.
    """
    module_name, _, name = target.partition(":")
    if not _is_reference(module_name, name):
        raise ConfigurationError(f"can't load {target!r}: it must be MODULE:OBJECT, such as sealing:codec")
    return check_codec(getattr(_import(target, module_name), name, None))


def _is_reference(module_name: str, name: str) -> bool:
    is_path = module_name.endswith(".py") or not all(map(str.isidentifier, module_name.split(".")))
    return name.isidentifier() and not is_path


def _likely_meant(module_name: str, name: str) -> str:
    module = ".".join(filter(str.isidentifier, module_name.removesuffix(".py").replace("/", ".").split(".")))
    return f"{module or 'jobs'}:{name if name.isidentifier() else 'app'}"


def _import(target: str, module_name: str, named_by: str = "") -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name and f"{module_name}.".startswith(f"{exc.name}."):
            reason = f"there is no module {exc.name!r} in {Path.cwd()} or installed"
            raise AppNotLoaded(target, f"{reason}{named_by}{_shadowed(module_name)}") from exc
        raise AppNotLoaded(target, _import_fault(module_name, exc)) from exc
    except Exception as exc:
        raise AppNotLoaded(target, _import_fault(module_name, exc)) from exc
    except SystemExit as exc:
        raise AppNotLoaded(target, f"the import of {module_name} ended with SystemExit({exc.code!r})") from exc


def _import_fault(module_name: str, exc: Exception) -> str:
    """Return what an import raised and where, and which line of the named module imports that; log the traceback."""
    log.debug("import failed", module=module_name, exc_info=exc)
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}, line {exc.lineno}: {type(exc).__name__}: {exc.msg}{_SHOW_ALL}"
    lines = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.name == "<module>"]
    if not lines:
        return f"{type(exc).__name__}: {exc}"
    first, last = lines[0], lines[-1]
    through = "" if first.filename == last.filename else f", which {first.filename}, line {first.lineno}, imports"
    return f"{last.filename}, line {last.lineno}{through}: {type(exc).__name__}: {exc}{_SHOW_ALL}"


_SHOW_ALL = "; HEADRACE_LOG_LEVEL=debug shows the traceback"


def _attribute_fault(module: ModuleType, name: str) -> str:
    apps = [f"{module.__name__}:{each}" for each, value in vars(module).items() if isinstance(value, App)]
    hint = f"; there is {', '.join(apps)}" if apps else "; there is no App in that module: app = App(…) makes one"
    hint += _shadowed(module.__name__)
    where = f" ({module.__file__})" if getattr(module, "__file__", None) else ""
    if not hasattr(module, name):
        return f"module {module.__name__!r}{where} has no {name!r}{hint}"
    kind = type(getattr(module, name)).__name__
    return f"{name!r} of module {module.__name__!r}{where} is a {kind} and not an App{hint}"


def _shadowed(module_name: str) -> str:
    """Return an addition to a message if another module of this name was imported than the current folder's."""
    top = module_name.partition(".")[0]
    imported = getattr(sys.modules.get(top), "__file__", None)
    for own in (Path.cwd() / f"{top}.py", Path.cwd() / top / "__init__.py"):
        if own.is_file() and not (imported and Path(imported).resolve() == own.resolve()):
            from_where = f"from {imported}" if imported else "with Python itself"
            return f"; {top!r} was imported {from_where}, and not from {own}: give that another name"
    return ""
