"""The settings of sinks: where rows go beside this machine, all off by default, and the rules that span them.

A setting that is marked as secret is never shown: not in a message, not in help, not in a log.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=/-]*)?")
BROKER: Final = re.compile(r"[A-Za-z0-9_.-]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}")
TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


class Sinks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of events for others; each sink that is named here is a process of its own beside the workers."""

    parquet_url: Annotated[
        str,
        Meta(description="s3://BUCKET/PREFIX that Parquet objects go to; empty: none. Needs fanion[sinks]"),
    ] = ""
    parquet_endpoint: Annotated[
        str,
        Meta(description="http(s)://HOST:PORT of an S3-compatible store; empty: Amazon's own"),
    ] = ""
    parquet_region: Annotated[
        str,
        Meta(min_length=1, description="region of the bucket; most other stores take any"),
    ] = "us-east-1"
    parquet_access_key: Annotated[
        str,
        Meta(description="access key id; empty: what the environment or the machine gives"),
    ] = ""
    parquet_secret_key: Annotated[
        str,
        Meta(description="its secret; better in the environment than in a file", extra={"secret": True}),
    ] = ""
    parquet_interval_s: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds between steps, each an object an environment and day"),
    ] = 60.0
    kafka_brokers: Annotated[
        str,
        Meta(description="HOST:PORT of Kafka brokers, commas between; empty: none. Needs fanion[sinks]"),
    ] = ""
    kafka_topic: Annotated[
        str,
        Meta(min_length=1, max_length=249, description="topic of the rows"),
    ] = "fanion-rows"
    kafka_security: Annotated[
        Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"],
        Meta(description="how brokers are spoken to"),
    ] = "plaintext"
    kafka_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        Meta(description="of SASL"),
    ] = "SCRAM-SHA-512"
    kafka_user: Annotated[str, Meta(description="of SASL")] = ""
    kafka_password: Annotated[
        str,
        Meta(description="of SASL; better in the environment than in a file", extra={"secret": True}),
    ] = ""
    kafka_ca_file: Annotated[
        str,
        Meta(description="certificates that brokers are verified by; empty: the system's"),
    ] = ""
    kafka_row_bytes_max: Annotated[
        int,
        Meta(ge=1_024, le=64 << 20, description="bytes of a row that brokers take; larger ones are left out"),
    ] = 1_000_000
    file_path: Annotated[
        str,
        Meta(description="file that rows are added to, a line of JSON each; empty: none"),
    ] = ""
    command: Annotated[
        str,
        Meta(
            description="program and arguments, run for each step with its rows on standard input; empty: none"
        ),
    ] = ""
    interval_s: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds between steps of the other sinks, where little comes"),
    ] = 1.0
    timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=300, description="seconds that a receiver may take for a request, or for a step"),
    ] = 30.0
    again_s_max: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds at most until a receiver that failed is tried again"),
    ] = 60.0
    hold_hours: Annotated[
        float,
        Meta(ge=0.01, le=1_000_000, description="hours that the journal keeps what a sink has not taken"),
    ] = 72.0
    hold_share: Annotated[
        float,
        Meta(ge=0.001, le=0.9, description="share of the disk that is kept for a sink at most"),
    ] = 0.25


def problems_of_sinks(sinks: Sinks) -> Iterator[str]:
    """What is wrong with values that have a form."""
    if sinks.parquet_url and not BUCKET.fullmatch(sinks.parquet_url):
        yield f"sinks.parquet_url is {_shown(sinks.parquet_url)}; allowed: s3://BUCKET or s3://BUCKET/PREFIX"
    if sinks.parquet_endpoint and not re.fullmatch(r"https?://[^/@\s]+/?", sinks.parquet_endpoint):
        yield "sinks.parquet_endpoint must be http://HOST:PORT or https://HOST:PORT, without a path or a user"
    if bool(sinks.parquet_access_key) != bool(sinks.parquet_secret_key):
        yield "sinks.parquet_access_key and sinks.parquet_secret_key are given together or not at all"
    for broker in sinks.kafka_brokers.split(",") if sinks.kafka_brokers else ():
        if not BROKER.fullmatch(broker.strip()):
            yield f"sinks.kafka_brokers has {_shown(broker)}; HOST:PORT is allowed, separated by commas"
    if not TOPIC.fullmatch(sinks.kafka_topic) or sinks.kafka_topic in (".", ".."):
        yield f"sinks.kafka_topic is {sinks.kafka_topic!r}; allowed: letters, digits, '.', '_' and '-'"
    if sinks.kafka_security.startswith("sasl") and not (sinks.kafka_user and sinks.kafka_password):
        yield f"sinks.kafka_security is {sinks.kafka_security}; it needs kafka_user and kafka_password"
    try:
        if sinks.command and not shlex.split(sinks.command):
            yield "sinks.command names no program"
    except ValueError as error:
        yield f"sinks.command can't be read: {error}"


def _shown(text: str) -> str:
    """Somebody may have put a secret where a user and a password stand in other addresses."""
    return "one with an @, which is not shown" if "@" in text else repr(text)
