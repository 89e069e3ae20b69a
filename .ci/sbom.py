#!/usr/bin/env python3
"""What an installation of Fanion consists of, as CycloneDX 1.6 in JSON: PYTHON .ci/sbom.py EXTRAS [WHEEL].

Run by the Python of an environment that has the wheel with these extras (`console,results`): each distribution
that is reached from Fanion is a component with version, licence, package URL and what it needs itself. So are the
front-end files that the console ships, with the SHA-256 of the files as they lie there. The same installation
gives the same document: it has no time, and its serial number is made from its content.

Needs nothing but the standard library and pip's own reading of requirements, so that what it describes is not
changed by describing it. `.ci/wheels.py --sbom` runs it and holds the result against CycloneDX's schema.
"""

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

NAME = "fanion"
SHIPPED = (  # file, npm's name, what its version stands in, licence
    ("htmx.min.js", "htmx.org", r'version:"(\d+\.\d+\.\d+)"', "0BSD"),
    ("uplot.min.js", "uplot", r"uPlot \(v(\d+\.\d+\.\d+)\)", "MIT"),
)
CLASSIFIER = "License :: OSI Approved :: "
IDENTIFIERS = {  # how metadata says what SPDX has an identifier for
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit": "MIT",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "oldap-2.8": "OLDAP-2.8",
}


def licences(found: metadata.PackageMetadata) -> list[dict[str, object]]:
    """An SPDX expression where the metadata has one or names a licence that has one; else its own words."""
    expression = found.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    said = (found.get("License") or "").strip().splitlines()
    classifiers = found.get_all("Classifier") or []
    words = [*said[:1], *(one.removeprefix(CLASSIFIER) for one in classifiers if one.startswith(CLASSIFIER))]
    for word in words:
        if word.lower() in IDENTIFIERS:
            return [{"license": {"id": IDENTIFIERS[word.lower()]}}]
    return [{"license": {"name": words[-1]}}] if words else []


def needs(found: metadata.Distribution, extras: Iterable[str]) -> dict[str, set[str]]:
    """Which distributions it asks for here, with the extras that it asks for of each."""
    asked: dict[str, set[str]] = {}
    for line in found.requires or []:
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            asked.setdefault(canonicalize_name(one.name), set()).update(one.extras)
    return asked


def reached(root: str, extras: set[str]) -> dict[str, tuple[metadata.Distribution, set[str]]]:
    """Name -> distribution and what it needs, of all that are installed and reached from `root`."""
    found: dict[str, tuple[metadata.Distribution, set[str]]] = {}
    asked: dict[str, set[str]] = {}
    waiting = [(root, extras)]
    while waiting:
        name, wanted = waiting.pop()
        if name in found and wanted <= asked[name]:
            continue
        asked[name] = asked.get(name, set()) | wanted
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that isn't installed
        below = needs(distribution, asked[name])
        found[name] = distribution, set(below)
        waiting += below.items()
    return {name: (one, below & found.keys()) for name, (one, below) in sorted(found.items())}


def component(name: str, distribution: metadata.Distribution) -> dict[str, object]:
    said = distribution.metadata
    purl = f"pkg:pypi/{name}@{distribution.version}"
    made: dict[str, object] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": distribution.version,
    }
    if said.get("Summary"):
        made["description"] = said["Summary"]
    if found := licences(said):
        made["licenses"] = found
    return {**made, "purl": purl}


def shipped(static: Path) -> list[dict[str, object]]:
    """The front-end files in the package. Raises SystemExit where one isn't what it was taken for."""
    found = []
    for file, name, version_at, licence in SHIPPED:
        data = (static / file).read_bytes()
        version = re.search(version_at, data.decode())
        if version is None or not (static / f"{file.partition('.')[0]}.LICENSE.txt").exists():
            raise SystemExit(f"{static / file}: no version, or no licence beside it")
        purl = f"pkg:npm/{name}@{version[1]}"
        digest = {"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}
        found.append(
            {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version[1],
                "hashes": [digest],
                "licenses": [{"license": {"id": licence}}],
                "purl": purl,
            }
        )
    return found


def document(extras: Iterable[str], wheel: Path | None = None) -> dict[str, object]:
    """The whole. `wheel`: whose digest stands in it."""
    root = metadata.distribution(NAME)
    found = reached(NAME, set(extras))
    own = component(NAME, root) | {"type": "application"}
    if wheel is not None:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        own["hashes"] = [{"alg": "SHA-256", "content": digest}]
    import fanion

    front_end = shipped(Path(str(fanion.__file__)).parent / "console" / "static")
    purls = {name: f"pkg:pypi/{name}@{one.version}" for name, (one, _) in found.items()}
    depends = [
        {"ref": purls[name], "dependsOn": sorted(purls[one] for one in below)}
        for name, (_, below) in found.items()
    ]
    depends[[one["ref"] for one in depends].index(purls[NAME])]["dependsOn"] += [
        str(one["bom-ref"]) for one in front_end
    ]
    made: dict[str, object] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": [component(name, one) for name, (one, _) in found.items() if name != NAME] + front_end,
        "dependencies": [*depends, *({"ref": one["bom-ref"]} for one in front_end)],
    }
    content = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(made, sort_keys=True))
    return {"serialNumber": f"urn:uuid:{content}", **made}


if __name__ == "__main__":
    extras, *wheels = sys.argv[1:]
    json.dump(document(extras.split(","), Path(wheels[0]) if wheels else None), sys.stdout, indent=1)
    print()
