"""Tracing is off unless somebody turns it on: then nothing of it is loaded, and nothing is sent."""

import subprocess
import sys
from collections.abc import Mapping

import pytest

from shared.settings import settings
from shared.settings.settings import ConfigurationError
from tests.tracing.receiver import collecting

_STARTED = """
import importlib, sys
from shared.settings.settings import load
app = importlib.import_module("services.redeemer").create_app(load("redeemer"))
importlib.import_module("services.redeemer.tasks")
assert app.test_client().get("/docs/").status_code == 200
traced = (
    "opentelemetry.sdk.trace", "opentelemetry.instrumentation", "opentelemetry.exporter", "shared.observability.otel"
)
print(*[name for name in traced if name in sys.modules])
"""


def _start(environ: Mapping[str, str]) -> str:
    started = subprocess.run([sys.executable, "-c", _STARTED], env=dict(environ), capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    return started.stdout.strip()


@pytest.mark.slow
def test_nothing_that_traces_is_loaded_unless_asked_for(environ: Mapping[str, str]) -> None:
    """redis-py loads OpenTelemetry's metrics wherever it finds them, and uses them where it is told to: not here."""
    assert _start(environ) == ""


@pytest.mark.slow
def test_one_setting_turns_it_on(environ: Mapping[str, str]) -> None:
    with collecting() as received:
        where = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.address + "/", "OTEL_EXPORTER_OTLP_HEADERS": "X-Key=a%20b"}
        assert "shared.observability.otel" in _start({**environ, **where})
        assert [span.name for span in received.spans()] == ["GET /docs/"]
    assert [(export["path"], export["x-key"]) for export in received.headers] == [("/v1/traces", "a b")]


@pytest.mark.slow
def test_a_collector_that_is_not_there_disturbs_nobody(environ: Mapping[str, str]) -> None:
    assert "shared.observability.otel" in _start({**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "token"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(environ: Mapping[str, str], name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        settings.load("issuer", {**environ, name: value})
