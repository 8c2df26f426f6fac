"""Operators by their codes: which there are, the class of each adapter, and one connected to its settings."""

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from services.operator_bridge.interface import Operator, UnknownOperator
from shared.settings.settings import ConfigurationError

# By name: nothing imports an adapter.
_OPERATORS = "services.operator_bridge.operators"


@functools.cache
def codes() -> tuple[str, ...]:
    """The codes of all operators there are adapters for."""
    folder = importlib.import_module(_OPERATORS).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folder)))


@functools.cache
def adapter(code: str) -> type[Operator]:
    """The adapter class of an operator; raises UnknownOperator where there is none."""
    if code not in codes():
        raise UnknownOperator(f"There is no operator {code!r}; there are {', '.join(codes())}.")
    found: type[Operator] = importlib.import_module(f"{_OPERATORS}.{code}").Adapter
    return found


def connect(code: str, settings: Mapping[str, str]) -> Operator:
    """The operator of a code, with its own among all `OPERATOR_…` settings; one per process and configuration.

    Raises UnknownOperator, or ConfigurationError naming every setting that is missing.
    """
    return _connected(code, tuple(sorted(_own(code, settings).items())))


@functools.cache
def _connected(code: str, settings: tuple[tuple[str, str], ...]) -> Operator:
    found, values = adapter(code), dict(settings)
    missing = [f"{_prefix(code)}{name}" for name in found.required if not values.get(name)]
    if missing:
        raise ConfigurationError(f"The operator {code} cannot be reached without {', '.join(missing)}.")
    return found({**found.optional, **values})


def is_configured(code: str, settings: Mapping[str, str]) -> bool:
    """Whether an operator has all its settings."""
    try:
        connect(code, settings)
    except ConfigurationError:
        return False
    return True


def check(settings: Mapping[str, str]) -> None:
    """Raises ConfigurationError where an operator that has settings lacks one, or where settings name no operator."""
    for code in codes():
        if _own(code, settings):
            connect(code, settings)
    stray = sorted(name for name in settings if not name.startswith(tuple(map(_prefix, codes()))))
    if stray:
        raise ConfigurationError(f"No operator has these settings: {', '.join(stray)}; there are {', '.join(codes())}.")


def _prefix(code: str) -> str:
    return f"OPERATOR_{code.upper()}_"


def _own(code: str, settings: Mapping[str, str]) -> dict[str, str]:
    prefix = _prefix(code)
    return {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
