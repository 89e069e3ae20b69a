"""Rows as messages of a Kafka topic, by confluent-kafka: the key is the row's identity, the value its line of JSON.

A step is taken when every message of it was acknowledged by all replicas in sync. The producer is idempotent, so
its own retries repeat none; after a kill, or a step that failed in part, messages come again with the same keys, in
the same partitions.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, Final

from fanion.config.sinks import Sinks
from fanion.errors import SinkError
from fanion.sinks.receiver import Kind, Line, Turn, reason_of

POLL_S: Final = 0.5
MESSAGE_OVERHEAD_BYTES: Final = 1_024
"""What a batch of one message takes beside its key and value, and more."""


class Topic:
    """The receiver."""

    def __init__(self, settings: Sinks, turn: Turn) -> None:
        library = import_module("confluent_kafka")
        self.left_out = 0
        self._turn = turn
        self._topic = settings.kafka_topic
        self._timeout_s = settings.timeout_s
        self._row_bytes_max = settings.kafka_row_bytes_max
        self._said = ""
        self._error: type[Exception] = library.KafkaException
        try:
            self._producer = library.Producer(self._options(settings))
        except (self._error, ValueError) as error:
            raise SinkError(f"the brokers can't be asked: {reason_of(error)}") from None

    def _options(self, settings: Sinks) -> dict[str, Any]:
        options: dict[str, Any] = {
            "bootstrap.servers": settings.kafka_brokers.replace(" ", ""),
            "client.id": "fanion",
            "security.protocol": settings.kafka_security,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "message.timeout.ms": round(settings.timeout_s * 1_000),
            "message.max.bytes": settings.kafka_row_bytes_max + MESSAGE_OVERHEAD_BYTES,
            "error_cb": self._broker_said,
            "log_level": 2,  # what it says of brokers comes by error_cb, and is said once
        }
        if settings.kafka_security.startswith("sasl"):
            options |= {
                "sasl.mechanism": settings.kafka_mechanism,
                "sasl.username": settings.kafka_user,
                "sasl.password": settings.kafka_password,
            }
        if settings.kafka_ca_file:
            options["ssl.ca.location"] = settings.kafka_ca_file
        return options

    def take(self, rows: list[Line], name: str) -> None:
        failed: list[str] = []
        deadline = time.monotonic() + self._timeout_s

        def told(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(error.str())

        for line in rows:
            if len(line.key) + len(line.text) > self._row_bytes_max:
                self.left_out += 1
                continue
            self._send(line, told, deadline)
        while len(self._producer) and not failed and time.monotonic() < deadline:
            self._turn()
            self._producer.flush(POLL_S)
        if failed or len(self._producer):
            said = f"; {self._said}" if self._said else ""
            reason = failed[0] if failed else f"{len(self._producer)} messages were not acknowledged in time"
            raise SinkError(f"the topic {self._topic} didn't take all: {reason}{said}")

    def _send(self, line: Line, told: Any, deadline: float) -> None:
        while True:
            try:
                self._producer.produce(self._topic, key=line.key, value=line.text, on_delivery=told)
                return
            except BufferError:
                self._turn()
                self._producer.poll(POLL_S)
                if time.monotonic() > deadline:
                    raise SinkError(
                        f"the brokers take nothing{'; ' + self._said if self._said else ''}"
                    ) from None
            except self._error as error:
                raise SinkError(f"the topic {self._topic} takes nothing: {reason_of(error)}") from None

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(0)

    def _broker_said(self, error: Any) -> None:
        self._said = reason_of(RuntimeError(error.str()))


KIND = Kind(
    setting="kafka_brokers",
    where=lambda settings: f"topic {settings.kafka_topic} at {settings.kafka_brokers}",
    interval_s=lambda settings: settings.interval_s,
    open=Topic,
    needs=(("confluent_kafka", "confluent-kafka"),),
)
