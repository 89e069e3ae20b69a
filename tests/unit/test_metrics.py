"""Counting over several workers, and the text that Prometheus reads."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from pathlib import Path

import pytest

from fanion.errors import ServeError
from fanion.telemetry import exposition, journal, pipeline, sinks, windows
from fanion.telemetry import metrics as module
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.journal import COUNTERS, GAUGES, JournalNumbers
from fanion.telemetry.logs import JsonLine, PeersThatLeft, logging_config
from fanion.telemetry.metrics import Metric, Metrics

LATENCY = Metric("fanion_test_seconds", "histogram", "A test.", ("op",), scale=1e-6, bounds=(1_000, 50_000))


def text(metrics: Metrics) -> str:
    """What the operations process says once this worker has had its turn."""
    metrics.collect()
    reader = Exposition(Path(metrics._file.path).parents[1], (*exposition.CATALOGUE, LATENCY))
    try:
        return reader.text().decode()
    finally:
        reader.close()


def lines(metrics: Metrics) -> list[str]:
    return [line for line in text(metrics).splitlines() if not line.startswith("#")]


def test_answers_are_summed_over_workers(tmp_path: Path) -> None:
    one, other = Metrics.open(tmp_path), Metrics.open(tmp_path)
    for _ in range(3):
        one.answered("feather", "evaluate", 200)
    other.answered("feather", "evaluate", 200)
    other.answered("feather", "bulk", 422)
    for metrics in (one, other):
        assert 'fanion_http_responses_total{dialect="feather",endpoint="evaluate",status="200"} 4' in lines(
            metrics
        )
        assert 'fanion_http_responses_total{dialect="feather",endpoint="bulk",status="422"} 1' in lines(
            metrics
        )
    assert "fanion_workers 2" in lines(one)


def test_counts_outlive_their_worker_and_gauges_do_not(tmp_path: Path) -> None:
    one, other = Metrics.open(tmp_path), Metrics.open(tmp_path)
    other.answered("feather", "evaluate", 200)
    other.served(7, 1_000.5)
    one.served(9, 2_000.25)
    assert "fanion_store_generation 7" in lines(one)
    assert "fanion_store_confirmed_timestamp_seconds 1000.5" in lines(one)
    other._file.close()  # as its death would
    found = lines(one)
    assert "fanion_workers 1" in found
    assert "fanion_store_generation 9" in found
    assert "fanion_worker_starts_total 2" in found
    assert any(line.startswith("fanion_http_responses_total{") and line.endswith(" 1") for line in found)
    third = Metrics.open(tmp_path)
    assert "fanion_store_generation 9" in lines(third)
    assert "fanion_worker_starts_total 3" in lines(third)


def test_a_row_says_nothing_of_a_process_of_another_kind_that_had_it(tmp_path: Path) -> None:
    """One that fails and dies, whose row a worker takes: nobody would set it back."""
    beside = Metrics.open(tmp_path, worker=False)
    beside.know(sinks.CATALOGUE)
    beside.set(sinks.FAILING, 1, ("kafka",))
    beside.add(sinks.FAULTS, 3, ("kafka",))
    beside.add_counts(LATENCY, (1, 1, 0), 9_000, ("sync",))
    beside._file.close()  # as its death would
    worker = Metrics.open(tmp_path)
    found = lines(worker)
    assert 'fanion_sink_failing{sink="kafka"} 0' in found
    assert 'fanion_sink_faults_total{sink="kafka"} 3' in found
    assert 'fanion_test_seconds_count{op="sync"} 2' in found


def test_counters_are_told_from_gauges_by_their_names() -> None:
    for metric in exposition.CATALOGUE:
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name


def test_histogram_is_cumulative_and_in_the_unit_of_its_name(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path)
    metrics.add_counts(LATENCY, (2, 1, 1), 500 + 1_000 + 20_000 + 90_000, ("sync",))
    assert [line for line in lines(metrics) if "test_seconds" in line] == [
        'fanion_test_seconds_bucket{op="sync",le="0.001"} 2',
        'fanion_test_seconds_bucket{op="sync",le="0.05"} 3',
        'fanion_test_seconds_bucket{op="sync",le="+Inf"} 4',
        'fanion_test_seconds_sum{op="sync"} 0.1115',
        'fanion_test_seconds_count{op="sync"} 4',
    ]


def ring_numbers(**changed: object) -> dict[str, object]:
    """What a journal writer reports, with bounds of its own."""
    numbers: dict[str, object] = dict.fromkeys(COUNTERS, 0) | dict.fromkeys(GAUGES, 7)
    histograms = {"receipt_to_durable": [0] * 5, "sync_time": [0] * 5, "latency_us": 0, "sync_us": 0}
    return numbers | histograms | {"bounds_us": [400, 900, 49_152, 53_248, 10**9]} | changed


def test_journal_numbers_are_taken_over_once_and_survive_a_new_claim(tmp_path: Path) -> None:
    one, other = Metrics.open(tmp_path), Metrics.open(tmp_path)
    current: dict[str, object] = {}
    numbers = JournalNumbers(one)
    JournalNumbers(other)
    one.add_collector(lambda: numbers.update(current))
    one.collect()
    current = ring_numbers(records=5, receipt_to_durable=[1, 0, 2, 1, 1], latency_us=250_000)
    for _ in range(3):
        one.collect()
    found = lines(other)
    assert "fanion_journal_records_total 5" in found
    assert "fanion_journal_ring_used_bytes 7" in found
    assert [line.partition("durable_seconds")[2] for line in found if "receipt_to_durable" in line] == [
        '_bucket{le="0.0005"} 1',
        '_bucket{le="0.001"} 1',
        '_bucket{le="0.002"} 1',
        '_bucket{le="0.003"} 1',
        '_bucket{le="0.005"} 1',
        '_bucket{le="0.01"} 1',
        '_bucket{le="0.025"} 1',
        '_bucket{le="0.05"} 3',
        '_bucket{le="0.1"} 4',
        '_bucket{le="0.25"} 4',
        '_bucket{le="1"} 4',
        '_bucket{le="5"} 4',
        '_bucket{le="+Inf"} 5',
        "_sum 0.25",
        "_count 5",
    ]
    current = ring_numbers(records=2, receipt_to_durable=[2, 0, 0, 0, 0], latency_us=600)
    assert "fanion_journal_records_total 7" in lines(one)


def test_every_metric_is_announced_once_before_its_samples(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path)
    metrics.answered("feather", "evaluate", 200)
    metrics.answered("feather", "bulk", 200)
    found = text(metrics)
    assert found.endswith("\n")
    assert found.count("# TYPE fanion_http_responses_total counter") == 1
    assert found.index("# HELP fanion_workers ") < found.index("\nfanion_workers ")


def test_series_beyond_the_room_are_counted_as_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CELLS", 10)
    metrics = Metrics.open(tmp_path)
    for status in range(200, 230):
        metrics.answered("feather", "evaluate", status)
    found = lines(metrics)
    assert sum("responses_total" in line for line in found) == 3
    assert "fanion_metrics_dropped_total 27" in found
    metrics.add_counts(LATENCY, (1, 0, 0), 500, ("sync",))
    assert not any("test_seconds" in line for line in lines(metrics))


def test_every_metric_of_a_catalogue_is_exposed() -> None:
    made = {
        thing.name
        for room in (module, journal, pipeline, windows)
        for name in dir(room)
        for thing in ([getattr(room, name)] if isinstance(getattr(room, name), Metric) else [])
    }
    made |= {metric.name for room in (module, journal, pipeline) for metric in room.CATALOGUE}
    assert made <= {metric.name for metric in exposition.CATALOGUE}


def test_a_process_that_is_no_worker_counts_as_none(tmp_path: Path) -> None:
    worker, beside = Metrics.open(tmp_path), Metrics.open(tmp_path, worker=False)
    for either in (worker, beside):
        assert {"fanion_workers 1", "fanion_worker_starts_total 1"} <= set(lines(either))


def test_more_workers_than_rows_is_a_clear_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOTS", 1)
    first = Metrics.open(tmp_path)
    with pytest.raises(ServeError, match="all 1 rows are taken"):
        Metrics.open(tmp_path)
    first.close()
    Metrics.open(tmp_path)


def test_label_value_that_would_break_the_text_is_refused(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path)
    with pytest.raises(ValueError, match="isn't allowed"):
        metrics.answered("feather", 'x"} 1\n', 200)
    with pytest.raises(ValueError, match="pair up"):
        metrics.add(module.WORKER_STARTS, labels=("x",))


def test_log_line_is_one_json_object_with_allowed_members_only() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine())
    logger = logging.Logger("fanion.test")
    logger.addHandler(handler)
    logger.warning("two\nlines %s", "x" * 5_000, extra={"environment": "prod", "api_key": "sk_secret"})
    try:
        raise ValueError("inner")
    except ValueError:
        logger.exception("failed", extra={"count": 3})
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["environment"] == "prod"
    assert first["message"].startswith("two\nlines ")
    assert len(first["message"]) == 2_000
    assert first["time"].endswith("Z")
    assert "sk_secret" not in stream.getvalue()
    assert second["count"] == 3
    assert "ValueError: inner" in second["trace"]


def test_logging_configuration_is_accepted_and_quiet_below_its_level() -> None:
    config = logging_config("warning")
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logging.config.dictConfig(config)
        assert logging.getLogger("fanion.app").isEnabledFor(logging.WARNING)
        assert not logging.getLogger("fanion.app").isEnabledFor(logging.INFO)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        for name in config["loggers"]:
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True
            logging.getLogger(name).setLevel(logging.NOTSET)


def test_an_answer_that_outlives_the_counters_goes_uncounted(tmp_path: Path) -> None:
    metrics = Metrics.open(tmp_path)
    metrics.answered("feather", "events", 202)
    metrics.close()
    metrics.answered("feather", "events", 202)
    metrics.answered("feather", "events", 503)


def test_a_peer_that_left_is_no_line_for_each_piece_of_its_answer() -> None:
    kept = PeersThatLeft()
    for text, expected in (("ASGI transport error: Closed", False), ("Starting granian", True)):
        record = logging.LogRecord("_granian.asgi", logging.INFO, "", 0, text, None, None)
        assert kept.filter(record) is expected
