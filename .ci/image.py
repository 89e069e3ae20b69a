#!/usr/bin/env python3
"""Builds the image of `Containerfile` with buildah, as root and without a daemon: python3 .ci/image.py --help.

The image is made of wheels: Fanion's own (of `.ci/wheels.py`, or one built here) and those of its dependencies,
which pip fetches before the build; the build itself asks no network. `--debootstrap` makes the base of the
distribution's own Python where no registry can be reached, by debootstrap.

`--try` runs the image's root file system, mounted read-only, with a private /tmp and a data directory of its
own, as the user that the image names: starts the demo, asks it and its health check, and ends it by SIGTERM."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

from loadtest.serving import free_port  # noqa: E402

NAME = "localhost/fanion"
SUITE, SUITE_PYTHON = "bookworm", "3.11"
OPERATIONS_PORT = 8081
"""The image's own: its health check asks there, as whoever runs it sees it."""
START_S = 180
IN_THE_IMAGE = """
set -e
mount --bind "$1" "$2" && mount -o remount,ro,bind "$2"
mount -t tmpfs -o size=1g tmpfs "$2/tmp"
mount --bind "$3" "$2/var/lib/fanion"
mount --bind /proc "$2/proc"
mount --bind /dev "$2/dev"
shift 3
exec chroot --userspec="$1" "$MOUNTED" /usr/bin/env -i $SET "${@:2}"
"""


def run(*command: object, **more: object) -> str:
    print("+", *command, flush=True)
    done = subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True, **more
    )  # type: ignore[call-overload]
    return str(done.stdout).strip()


class Buildah:
    """buildah with a store of its own. Isolation by chroot needs neither a runtime nor cgroups."""

    def __init__(self, store: Path) -> None:
        self._command = [
            "buildah",
            "--root",
            store / "root",
            "--runroot",
            store / "run",
            "--storage-driver",
            "vfs",
        ]

    def __call__(self, verb: str, *arguments: object) -> str:
        return run(*self._command, verb, *arguments)


def make_base(buildah: Buildah, work: Path) -> str:
    """An image of the distribution's smallest system with its Python."""
    system = work / "system"
    run("debootstrap", "--variant=minbase", "--include=python3,ca-certificates", SUITE, system)
    for spare in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(system / spare, ignore_errors=True)
    container = buildah("from", "scratch")
    buildah("copy", "-q", container, system, "/")
    buildah("commit", "-q", "--rm", container, f"{NAME}-base")
    shutil.rmtree(system)
    return f"{NAME}-base"


def collect(wheel: Path | None, extras: str, python: str, into: Path) -> None:
    """Fanion's wheel, its dependencies' and pip's."""
    if wheel is None:
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", into, TOP)
        (wheel,) = into.glob("fanion-*.whl")
    else:
        shutil.copy(wheel, into)
    tags = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "linux")
    platforms = [f"--platform={tag}_x86_64" for tag in tags]
    told = ["--only-binary=:all:", f"--python-version={python}", *platforms, "-d", into, "--find-links", into]
    run(sys.executable, "-m", "pip", "download", "-q", *told, f"fanion[{extras}]", "pip")


class Mounted:
    """The image's root, read-only, in name spaces of its own; each command sees the same data."""

    def __init__(self, buildah: Buildah, work: Path) -> None:
        self._buildah = buildah
        self._container = buildah("from", "--pull-never", NAME)
        self._root = buildah("mount", self._container)
        told = json.loads(buildah("inspect", "--type", "image", NAME))["OCIv1"]["config"]
        self.user, self.entry, self.settings = told["User"], told["Entrypoint"], told["Env"]
        check = json.loads(buildah("inspect", "--type", "image", NAME))["Docker"]["config"]["Healthcheck"][
            "Test"
        ]
        self.check = check[1:]
        self.data, self._at = work / "data", work / "at"
        self.data.mkdir()
        self._at.mkdir()
        user, _, group = self.user.partition(":")
        os.chown(self.data, int(user), int(group))

    def command(self, *arguments: str) -> list[str]:
        return [
            *("unshare", "--mount", "--fork", "--kill-child", "bash", "-c", IN_THE_IMAGE, "bash"),
            *(self._root, str(self._at), str(self.data), self.user, *arguments),
        ]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MOUNTED": str(self._at), "SET": " ".join(self.settings)}

    def close(self) -> None:
        self._buildah("umount", self._container)
        self._buildah("rm", self._container)


def wait_for_operations_port() -> None:
    """Until nobody else listens there."""
    begun = time.monotonic()
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", OPERATIONS_PORT))
            except OSError as error:
                if time.monotonic() - begun > START_S:
                    raise SystemExit(f"port {OPERATIONS_PORT} of the health check: {error}") from None
            else:
                return
        time.sleep(0.1)


def try_out(image: Mounted) -> None:
    """Serves, is well, keeps to its data directory, and ends by SIGTERM."""
    port = free_port()
    wait_for_operations_port()
    serve = image.command(*image.entry, "serve", "--demo", "--port", str(port), "--workers", "1")
    begun = time.monotonic()
    # A session of its own, so that the signal reaches the server behind unshare.
    server = subprocess.Popen(serve, env=image.environment, start_new_session=True)
    try:
        while True:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{OPERATIONS_PORT}/readyz", timeout=10
                ) as answer:
                    assert json.load(answer)["ready"]
                break
            except OSError:
                if server.poll() is not None or time.monotonic() - begun > START_S:
                    raise SystemExit("the image does not serve") from None
                time.sleep(0.1)
        print(f"ready after {time.monotonic() - begun:.1f} s", flush=True)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/evaluate",
            data=b'{"flagKey":"new-checkout","context":{}}',
            headers={"Authorization": "Bearer sk_demo_server"},
        )
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            print(answer.read().decode(), flush=True)
        try:  # on all addresses the console has a door: it asks for a token
            urllib.request.urlopen(f"http://127.0.0.1:{OPERATIONS_PORT}/console", timeout=START_S).close()
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
        print(f"the console is there after {time.monotonic() - begun:.1f} s", flush=True)
        while subprocess.run(image.command(*image.check), env=image.environment).returncode:
            if time.monotonic() - begun > START_S:
                raise SystemExit("the image's health check fails")
            time.sleep(0.1)  # it gives an answer two seconds and is asked again, as by whoever runs it
        inner = next(pid for pid in descendants(server.pid) if b"fanion\0serve" in command_of(pid))
        owner = Path(f"/proc/{inner}").stat()
        assert f"{owner.st_uid}:{owner.st_gid}" == image.user, owner
        os.kill(inner, signal.SIGTERM)
        status = server.wait(START_S)
        assert status == 0, f"it ended with {status}"
        print("ended by SIGTERM with 0", flush=True)
    finally:
        if server.poll() is None:
            for pid in reversed(descendants(server.pid)):  # who changed its user doesn't end with its parent
                os.kill(pid, signal.SIGKILL)
            server.wait(30)
    refused = subprocess.run(
        image.command("/bin/sh", "-c", "touch /etc/fanion/x"),
        env=image.environment,
        capture_output=True,
        check=False,
    )
    assert refused.returncode != 0, "the root file system can be written"


def descendants(pid: int) -> list[int]:
    """Oldest first."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", help="an image with a Python; by default that of Containerfile")
    parser.add_argument("--python", default="3.13", help="the base's CPython (default: 3.13)")
    parser.add_argument(
        "--debootstrap", action="store_true", help="make the base of the distribution, without a registry"
    )
    parser.add_argument(
        "--wheel", type=Path, help="Fanion's wheel; by default it is built here, by this very CPython"
    )
    parser.add_argument(
        "--extras",
        default="console,machines",
        help="what else of Fanion is installed (default: console,machines)",
    )
    parser.add_argument(
        "--store", type=Path, default=TOP / "build/image", help="where images are kept (default: build/image)"
    )
    parser.add_argument("--try", dest="tried", action="store_true", help="start what was built")
    options = parser.parse_args()
    buildah = Buildah(options.store)
    python = SUITE_PYTHON if options.debootstrap else options.python
    with tempfile.TemporaryDirectory(prefix="fanion-image-") as folder:
        work = Path(folder)
        base = make_base(buildah, work) if options.debootstrap else options.base
        context = work / "context"
        (context / "wheels").mkdir(parents=True)
        collect(options.wheel, options.extras, python, context / "wheels")
        told = [] if base is None else ["--build-arg", f"BASE={base}"]
        if base is not None and base.startswith("localhost/"):
            told.append("--pull-never")
        buildah(
            *(
                "bud",
                "-q",
                "--isolation",
                "chroot",
                "--format",
                "docker",
                *told,
                "--build-arg",
                f"EXTRAS={options.extras}",
            ),
            *("-t", NAME, "-f", TOP / "Containerfile", context),
        )
        print(buildah("images", "--format", "{{.Name}} {{.Size}}"), flush=True)
        if options.tried:
            image = Mounted(buildah, work)
            try:
                try_out(image)
            finally:
                image.close()


if __name__ == "__main__":
    main()
