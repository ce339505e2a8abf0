"""Totals and gauges in the form in which Prometheus reads them.

Contract: prometheus-client writes the text, of a registry of our own; nothing is registered for the whole process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client import metrics_core
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as in_openmetrics
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from .catalogue import CATALOGUE, Kind, Metric
from .gauges import gauges
from .totals import Totals

Family = metrics_core.Metric
TEXT: Final = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Content types of the two forms."""


def content_type(openmetrics: bool) -> str:
    """Return what HTTP calls the form."""
    return OPENMETRICS if openmetrics else TEXT


class Exposition(Collector):
    """Writes what the totals and a status say."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._status: Mapping[str, Any] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def of(self, status: Mapping[str, Any], openmetrics: bool = False) -> bytes:
        """Return the exposition; gauges are those of the status document."""
        self._status = status
        if openmetrics:
            generate: Any = in_openmetrics.generate_latest
            written: bytes = generate(self._registry)
            return written
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Family]:
        """For prometheus-client."""
        now: dict[str, list[tuple[tuple[str, ...], float]]] = {}
        for metric, values, number in gauges(self._status):
            now.setdefault(metric.name, []).append((values, number))
        for metric in CATALOGUE.values():
            yield from self._family(metric, now.get(metric.name))

    def describe(self) -> Iterable[Family]:
        """For prometheus-client, which would look for names that are there twice."""
        return ()

    def _family(self, metric: Metric, now: list[tuple[tuple[str, ...], float]] | None) -> Iterable[Family]:
        name, labels = f"smtpguard_{metric.name}", [label.name for label in metric.labels]
        if metric.kind is Kind.HISTOGRAM:
            buckets, total = self._totals.seconds()
            yield HistogramMetricFamily(name, metric.help, buckets=buckets, sum_value=total)
            return
        family: Any = (GaugeMetricFamily if metric.kind is Kind.GAUGE else CounterMetricFamily)(
            name, metric.help, labels=labels
        )
        # A counter that somebody else keeps, as that of lines lost, is in the status too.
        series = now if now is not None else () if metric.kind is Kind.GAUGE else self._totals.series(metric)
        for values, number in series:
            family.add_metric(values, number)
        if family.samples:
            yield family
