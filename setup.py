"""The extension modules only; everything else stands in pyproject.toml.

Every `ext/fanion/_core/NAME.pyx` becomes `fanion._core.NAME`. Switches, all by environment variable:
FANION_DEBUG=1 turns every check on, FANION_SANITIZE=address|thread|undefined builds with that sanitizer,
FANION_TRACE=1 adds line tracing, FANION_ANNOTATE=1 writes Cython's annotated sources,
FANION_ONLY=ring,hash builds just those modules, FANION_GATE=1 adds the test-only one of `bench.gate`.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

debug = os.environ.get("FANION_DEBUG") == "1"
trace = os.environ.get("FANION_TRACE") == "1"
sanitizer = os.environ.get("FANION_SANITIZE", "")
only = set(filter(None, os.environ.get("FANION_ONLY", "").split(",")))

compile_args = ["-std=c11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unused-function", "-pthread"]
compile_args += ["-Werror=incompatible-pointer-types"]  # a bool has not all the bytes that an int is read by
compile_args += ["-O1", "-g", "-UNDEBUG", "-DFANION_DEBUG=1"] if debug else ["-O3", "-g0"]
link_args = ["-pthread"]
if sanitizer:
    compile_args += [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer"]
    link_args.append(f"-fsanitize={sanitizer}")
define_macros = [("CYTHON_TRACE", "1")] if trace else []

sources = [p for p in sorted(Path("ext/fanion/_core").glob("*.pyx")) if not only or p.stem in only]
headers = [str(p) for p in sorted(Path("ext").rglob("*.h"))]
modules = {f"fanion._core.{path.stem}": path for path in sources}
if os.environ.get("FANION_GATE") == "1":
    modules["fanion_gate"] = Path("bench/gate/fanion_gate.pyx")

setup(
    # As many at once as there are cores: pip can't be told, and one after the other they take minutes.
    options={"build_ext": {"parallel": len(os.sched_getaffinity(0))}},
    ext_modules=cythonize(
        [
            Extension(
                name,
                [str(path)],
                include_dirs=["ext/include"],
                depends=headers,
                define_macros=define_macros,
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
            for name, path in modules.items()
        ],
        include_path=["ext"],
        build_dir="build/cython" + ("-debug" if debug else "") + ("-trace" if trace else ""),
        annotate=os.environ.get("FANION_ANNOTATE") == "1",
        compiler_directives={
            "language_level": 3,
            "embedsignature": False,
            "boundscheck": debug,
            "wraparound": debug,
            "initializedcheck": debug,
            "cdivision": True,
            "linetrace": trace,
            "binding": False,
        },
    ),
)
