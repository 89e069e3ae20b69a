"""What operators run is what the server is: manifests by Kubernetes' own schemas, the unit by systemd, metrics
that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fanion.config import Config
from fanion.telemetry.exposition import CATALOGUE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "fanion.yaml").read_text()))
MONITOR = yaml.safe_load((DEPLOY / "kubernetes" / "servicemonitor.yaml").read_text())
VERSIONS = ("1.30", kubernetes_validate.latest_version())
METRIC = re.compile(r"\bfanion_[a-z0-9_]+")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in MANIFESTS if document["kind"] == kind]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "document", MANIFESTS, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}"
)
def test_each_manifest_is_what_kubernetes_takes(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_pod_may_write_to_its_volumes_only_and_is_nobody() -> None:
    (stateful,) = of_kind("StatefulSet")
    pod = stateful["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert written == ["/var/lib/fanion", "/tmp"]
    assert (
        f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        in (ROOT / "Containerfile").read_text()
    )


def test_ports_probes_and_policies_name_what_is_there() -> None:
    (stateful,) = of_kind("StatefulSet")
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    server = Config().server
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": server.port, "operations": server.operations_port}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == "operations"
        assert asked["path"] == ("/healthz" if probe == "livenessProbe" else "/readyz")
    for service in of_kind("Service"):
        assert service["spec"]["selector"].items() <= labels.items()
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])
    (policy,) = of_kind("NetworkPolicy")
    (budget,) = of_kind("PodDisruptionBudget")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == set(ports)
    grace_s = stateful["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s > server.stop_timeout_s + 5 + 3  # the supervisor's watchdog, and preStop


def test_the_monitor_selects_the_service_and_port_of_operations() -> None:
    """Its schema is the Prometheus operator's, which no package brings: what it selects is held to the Service."""
    assert (MONITOR["apiVersion"], MONITOR["kind"]) == ("monitoring.coreos.com/v1", "ServiceMonitor")
    wanted = MONITOR["spec"]["selector"]["matchLabels"].items()
    (service,) = [one for one in of_kind("Service") if wanted <= one["metadata"]["labels"].items()]
    (endpoint,) = MONITOR["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert set(endpoint) <= {"port", "path", "interval", "scrapeTimeout"}


def test_the_settings_of_the_manifests_are_settings(tmp_path: Path) -> None:
    (settings,) = of_kind("ConfigMap")
    text = settings["data"]["fanion.toml"]
    for group, fields in tomllib.loads(text).items():
        known = getattr(Config(), group)
        assert all(hasattr(known, name) for name in fields)


def metrics_told() -> set[str]:
    """Every name that /metrics may have."""
    found = set()
    for metric in CATALOGUE:
        found.add(metric.name)
        if metric.kind == "histogram":
            found |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return found


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    dashboard = json.loads((DEPLOY / "grafana" / "fanion.json").read_text())
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    yield from (one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query")


def test_alerts_and_dashboard_ask_for_metrics_that_exist() -> None:
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert asked
    assert asked <= metrics_told(), asked - metrics_told()


def test_panels_of_the_dashboard_stand_beside_each_other() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "fanion.json").read_text())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is Debian's package prometheus; .ci/run has it"
)
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "alerts.yaml"),
        ("test", "rules", "alerts.test.yaml"),
        ("check", "config", "scrape.yaml"),
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_alert_rules_by_promtool(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="it is systemd's")
def test_the_unit_is_one_and_gives_little_away(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "fanion.service").read_text()
    unit = tmp_path / "fanion.service"
    unit.write_text(text.replace("/opt/fanion/bin/fanion", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stdout  # at most 2.0 of 10


def test_the_unit_waits_for_a_stop_to_end() -> None:
    text = (DEPLOY / "systemd" / "fanion.service").read_text()
    (wait_s,) = re.findall(r"^TimeoutStopSec=(\d+)s$", text, re.MULTILINE)
    assert int(wait_s) > Config().server.stop_timeout_s + 5
