"""The project's targets, each by the figure that shows it. "Nothing" is the do-nothing app (`bench.nothing`)."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Final, NamedTuple

from bench.report.session import Figure

MOST: Final = "≤"
LEAST: Final = "≥"


class Target(NamedTuple):
    """`figures`: a pattern; the worst of those that it names counts. `bound`: in their unit; None: the figure
    is there for orientation."""

    what: str
    sense: str
    bound: float | None
    figures: str

    def found(self, figures: Mapping[str, Figure]) -> tuple[str, Figure] | None:
        """The worst figure's name, and it; None where none was measured."""
        named = {name: figure for name, figure in figures.items() if fnmatch.fnmatchcase(name, self.figures)}
        if not named:
            return None
        worst = max if self.sense == MOST else min
        return worst(named.items(), key=lambda one: one[1].median)

    def is_met(self, figure: Figure) -> bool:
        if self.bound is None:
            return True
        return figure.median <= self.bound if self.sense == MOST else figure.median >= self.bound


PINNED: Final = "interfaces/pinned"
SHARED: Final = "interfaces/shared"
INGEST: Final = "ingest of 100, durable/of nothing"
TARGETS: Final = (
    Target("kernel, one flag, slots bound, 10 to 100,000 flags", MOST, 100, "in process/kernel_*"),
    Target("one flag, dict to JSON, matching", MOST, 250, "in process/dict_to_json_matching/*"),
    Target("one flag, dict to JSON, missing", MOST, 150, "in process/dict_to_json_missing/*"),
    Target("50 flags, one dict to JSON", MOST, 20_000, "in process/fifty_flags_*"),
    Target("`Evaluator.evaluate` from a dict", MOST, 0.6, "python/fanion.Evaluator*"),
    Target("OpenFeature provider's call", MOST, 3, "python/FanionProvider, its call alone"),
    Target("through its client, above a provider that does nothing", MOST, 3, "python/FanionProvider above*"),
    Target("bulk of 2, ASGI, of nothing", LEAST, 0.95, f"{SHARED}/bulk, 2 flags/fanion asgi/of nothing"),
    Target("bulk of 100, ASGI, of nothing", LEAST, 0.85, f"{SHARED}/bulk, 100 flags/fanion asgi/of nothing"),
    Target("bulk of 2, CPU above nothing", MOST, 4, f"{PINNED}/bulk, 2 flags/fanion ?sgi/above nothing"),
    Target("bulk of 100, CPU above nothing", MOST, 11, f"{PINNED}/bulk, 100 flags/fanion ?sgi/above nothing"),
    Target("RSGI, one core: bulk of 2, of Node", LEAST, 1.6, f"{PINNED}/bulk, 2 flags/fanion rsgi/of node"),
    Target("RSGI, one core: OFREP single, of Node", LEAST, 1.6, f"{PINNED}/one flag/fanion rsgi/of node"),
    Target("RSGI, one core: OFREP bulk of 50, of Node", LEAST, 3.5, f"{PINNED}/all of 50/fanion rsgi/of node"),
    Target("RSGI, one core: OFREP bulk of 50", LEAST, 14_000, f"{PINNED}/all of 50/fanion rsgi/rate"),
    Target("ASGI, one core: bulk of 2, of Node", LEAST, 1.2, f"{PINNED}/bulk, 2 flags/fanion asgi/of node"),
    Target("ASGI, one core: OFREP single, of Node", LEAST, 1.2, f"{PINNED}/one flag/fanion asgi/of node"),
    Target("ASGI, one core: OFREP bulk of 50, of Node", LEAST, 2.5, f"{PINNED}/all of 50/fanion asgi/of node"),
    Target("RSGI, of our own ASGI, one core", LEAST, 1.3, f"{PINNED}/*/fanion rsgi/of asgi"),
    Target("OFREP single by RSGI, one core: CPU, of Node's", MOST, 1, f"{PINNED}/one flag/fanion rsgi/cpu of node"),
    Target("OFREP bulk of 50 by RSGI, the same", MOST, 1, f"{PINNED}/all of 50/fanion rsgi/cpu of node"),
    Target("an interface's own CPU a request: ASGI", MOST, None, f"{PINNED}/bulk, 2 flags/nothing asgi/cpu"),
    Target("an interface's own CPU a request: RSGI", MOST, None, f"{PINNED}/bulk, 2 flags/nothing rsgi/cpu"),
    Target("ingest of 100, durable, shared, of nothing", LEAST, 0.55, f"http/shared/{INGEST}"),
    Target("ingest of 100, durable, pinned, of nothing", LEAST, 0.48, f"http/pinned/{INGEST}"),
    Target("receipt to durable at 80 %, p50", MOST, 3, "durable/80%/p50"),
    Target("receipt to durable at 80 %, p99", MOST, 5, "durable/80%/p99"),
    Target("receipt to durable at 80 %, p99.9", MOST, 25, "durable/80%/p99.9"),
    Target("receipt to durable at 80 %, p99.99: the promise", MOST, 50, "durable/80%/p99.99"),
    Target("receipt to durable at 100 MB/s, p50", MOST, 3, "durable/100 MB a s/p50"),
    Target("receipt to durable at 100 MB/s, p99", MOST, 5, "durable/100 MB a s/p99"),
    Target("receipt to durable at 100 MB/s, p99.9", MOST, 25, "durable/100 MB a s/p99.9"),
    Target("receipt to durable at 100 MB/s, p99.99: the promise", MOST, 50, "durable/100 MB a s/p99.99"),
    Target("rows behind, pipeline at half of the highest rate", MOST, 5, "pipeline/rows behind"),
    Target("an exposure that is there today", MOST, 0.4, "exposures/*/recorded today"),
    Target("an exposure that isn't recorded: 0, within the noise", MOST, 0.03, "exposures/*/not recorded"),
    Target("journal to columns, one core", LEAST, 1.0, "rows/columns/rate"),
    Target("journal to zstd Parquet, one core", LEAST, 0.7, "rows/zstd Parquet/rate"),
    Target("journal to zstd Parquet, memory", MOST, 300, "rows/zstd Parquet/memory"),
    Target("results of one experiment, 10 M events", MOST, 2, "results/one experiment/time"),
    Target("results of twenty experiments, 10 M events", MOST, 5, "results/twenty experiments/time"),
    Target("operations process, console open in ten browsers", MOST, 0.10, "console/open/operations"),
    Target("the worst request, of 50 us + 4 us a KB", MOST, 1, "nasty/worst of the goal"),
    Target("the longest stretch of the event loop", MOST, 20, "nasty/longest stretch"),
    Target("a change over a million units and 50 flags", MOST, 30, "preview/time"),
    Target("publish of 10,000 flags, one changed: served", MOST, 1, "publish/10000/one changed/served_s"),
    Target("publish of 10,000 flags, all changed: served", MOST, 1, "publish/10000/whole/served_s"),
    Target("publish of 50,000 flags, one changed: served", MOST, 0.5, "publish/50000/one changed/served_s"),
    Target("publish of 50,000 flags, all changed: served", MOST, 5, "publish/50000/whole/served_s"),
    Target("publish of 50,000 flags, all changed: memory", MOST, 300, "publish/50000/whole/peak_mb"),
    Target("commit to seen by every worker, 10,000 flags, under load", MOST, 50, "seen/by every worker"),
    Target("answers that failed meanwhile", MOST, 0, "seen/failed"),
    Target("answers of two generations at once", MOST, 0, "seen/mixed"),
    Target("publish to three machines by NATS, p99", MOST, 0.1, "places/NATS/from the manifest, p99"),
    Target("publish to three machines that poll, p99", MOST, 6, "places/polled/from the manifest, p99"),
    Target("events shipped, of a bare publisher's rate", LEAST, 0.7, "shipping/of a bare publisher"),
    Target("`ack = replicated` above durable, p99", MOST, None, "replicated/p99 above durable"),
    Target("membership, up to ten million keys", MOST, 2, "lists/*/membership"),
    Target("a worker's memory after a million look-ups: unchanged", MOST, 0.1, "lists/*/memory grown"),
    Target("memory of an extra worker, 50,000 flags", MOST, 10, "footprint/extra worker above nothing"),
    Target("start to first answer, demo", MOST, 1, "footprint/first answer"),
    Target("acknowledged and lost, 100 times kill -9", MOST, 0, "crash/lost"),
    Target("twice in the journal, 100 times kill -9", MOST, 0, "crash/twice"),
)  # fmt: skip
