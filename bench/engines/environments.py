"""An environment for each engine, made by pip or npm from pinned versions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
MADE: Final = HERE.parents[1] / "build" / "engines"
VERSIONS: Final[dict[str, dict[str, list[str]]]] = json.loads((HERE / "versions.json").read_text())


class Engine(NamedTuple):
    """`needs`: programs without which it can't be installed or run."""

    name: str
    packages: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def is_node(self) -> bool:
        return bool(self.needs)

    def made(self) -> Path:
        """Its environment, made first where there is none. Raises CalledProcessError where that fails."""
        folder, stamp = MADE / self.name, MADE / self.name / "packages"
        wanted = "\n".join([sys.version, *self.packages])
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            (self._install_node if self.is_node else self._install_python)(folder)
            stamp.write_text(wanted)
        return folder

    def command(self) -> list[str]:
        """How its script is run. Raises CalledProcessError where its environment can't be made."""
        folder = self.made()
        script = HERE / f"ask_{self.name.replace('-', '_')}"
        if self.is_node:
            return ["env", f"ENGINE={folder}", "node", str(script.with_suffix(".mjs"))]
        return [str(folder / "bin" / "python"), str(script.with_suffix(".py"))]

    def _install_python(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        _run(str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *self.packages)

    def _install_node(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "package.json").write_text("{}")
        _run("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder), *self.packages)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""})


ENGINES: Final = {
    name: Engine(name, tuple(packages), ("node", "npm") if kind == "node" else ())
    for kind, engines in VERSIONS.items()
    for name, packages in engines.items()
}
