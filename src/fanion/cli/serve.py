"""`fanion serve`: run the server on a data directory, or on the demo's."""

from __future__ import annotations

import os
from pathlib import Path

import click

from fanion.cli.common import DATA, NamedPath, configuration
from fanion.cli.settings import print_settings
from fanion.pipeline import missing_library


@click.command()
@click.option("--data", **DATA)
@click.option("--host", help="Address of the public API [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port of the public API; 0: a free one [default: 8080].")
@click.option("--workers", type=int, help="Worker processes [default: one per core].")
@click.option(
    "--interface",
    type=click.Choice(["asgi", "rsgi"]),
    help="Between HTTP server and application; see docs/interfaces.md [default: asgi].",
)
@click.option(
    "--ack",
    type=click.Choice(["durable", "buffered", "replicated"]),
    help="Answer events once they are on disk, once no dead process loses them, or once the stream of shipping.url "
    "has them, too [default: durable].",
)
@click.option(
    "--pipeline/--no-pipeline",
    default=None,
    help="Make rows of the journal's events in a process beside the workers; needs fanion[results] [default: no].",
)
@click.option(
    "--follow",
    metavar="URL",
    help="Serve what is published to this place (`fanion publish --to`): nats, tls, s3, gs, az or file://; needs "
    "fanion[machines] and FANION_PLACES_KEY.",
)
@click.option(
    "--demo",
    is_flag=True,
    help="Use a temporary data directory with the demo definitions; makes rows where that can be done.",
)
@click.option(
    "--config", "file", type=NamedPath(path_type=Path), help="Settings file [default: DATA/fanion.toml]."
)
@click.option(
    "--settings",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_settings,
    help="List every setting, as fanion.toml has it, and exit.",
)
def command(
    data: Path | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    interface: str | None,
    ack: str | None,
    pipeline: bool | None,
    follow: str | None,
    demo: bool,
    file: Path | None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Every setting can also stand in fanion.toml or in a FANION_ variable; flags win over variables win over the
    file.
    """
    if demo and data is not None:
        raise click.UsageError("--demo brings its own data directory; leave --data out")
    if not demo and data is None:
        raise click.UsageError("--data DIR is needed (or --demo to try it out)")
    if demo and pipeline is None and "FANION_PIPELINE_ENABLED" not in os.environ:
        pipeline = not missing_library()
    config = configuration(
        data,
        file=file,
        flags={
            "server.host": host,
            "server.port": port,
            "server.workers": workers,
            "server.interface": interface,
            "journal.ack": ack,
            "pipeline.enabled": pipeline,
            "places.follow": follow,
        },
    )
    from fanion import app  # the server's imports only once the settings are known to be right

    if demo:
        app.serve_demo(config)
    else:
        assert data is not None
        app.serve(data, config)
