"""The files for running many nodes say only what the product, Kubernetes and Compose know.

No image is built and no cluster is reached: schemas, names and figures are compared.
"""

import importlib.resources
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate  # type: ignore[import-untyped]
import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families
from tests.support import build

from tocsin.cli.catalogue import settings_catalogue
from tocsin.domain.duration import parse_duration
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.execution import ErrorKind, Reason, State
from tocsin.domain.tally import Tally
from tocsin.settings import Settings
from tocsin.store.port import Limits, Stats, Usage
from tocsin.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

API_GRACE_MS = 5_000
"""What the API's last requests get after the calls under way; see ``app``."""

EXPECTED = {
    "tocsin_fires_total",
    "tocsin_executions_total",
    "tocsin_attempts_total",
    "tocsin_lateness_seconds_bucket",
    "tocsin_call_duration_seconds_bucket",
    "tocsin_claim_duration_seconds_bucket",
    "tocsin_record_duration_seconds_bucket",
    "tocsin_in_flight",
    "tocsin_held",
    "tocsin_queue_depth",
    "tocsin_capacity_used",
    "tocsin_capacity_limit",
    "tocsin_store_up",
    "tocsin_store_errors_total",
    "tocsin_nodes",
    "tocsin_lease_held",
    "tocsin_clock_offset_seconds",
}
"""What the dashboard must show."""

EXACT = (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)

Series = dict[str, dict[str, set[str]]]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- What Prometheus sees


@pytest.fixture(scope="module")
def series() -> Series:
    """Every series: its name, its labels, their values; from the registry itself."""
    metrics = Metrics(version="1", node="tocsin-1")
    metrics.claimed(claims=1, seconds=0.001)
    job = build.job()
    ended = [
        build.execution(
            job,
            build.NOW + number,
            state=State.FAILED,
            attempts=(build.failed_attempt(error_kind=kind),),
        )
        for number, kind in enumerate(ErrorKind)
    ]
    ended.append(build.execution(job, state=State.SUCCEEDED, attempts=(build.attempt(),)))
    metrics.recorded(ended, seconds=0.001)
    metrics.closed([build.execution(job, state=State.SKIPPED, reason=why) for why in Reason])
    metrics.closed([build.execution(job, state=State.CANCELLED)])
    metrics.rejected("jobs")
    metrics.store_failed(StoreUnavailable("away"))
    metrics.set_store(
        Stats(jobs={}, pending=1, claimed=1, tally=Tally(), minutes=()),
        Usage(jobs=1, bytes=1, by_status={}),
        Limits(max_jobs=1, max_bytes=1),
        nodes=1,
    )
    metrics.watch(
        in_flight=lambda: 0, held=lambda: 0, lease_held=lambda: True, clock_offset=lambda: 0.0
    )
    exposed: Series = {"up": {}}  # Prometheus' own
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = exposed.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    # Prometheus adds these to whatever it reads.
    jobs = {one["job_name"] for one in read(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]}
    for labels in exposed.values():
        labels["instance"] = {f"{node}:8080" for node in nodes()}
        labels["job"] = jobs
    return exposed


def nodes() -> list[str]:
    """The nodes of the Compose file."""
    return [name for name in read(DEPLOY / "compose.yaml")["services"] if name.startswith("tocsin")]


def rules() -> list[dict[str, Any]]:
    groups = read(DEPLOY / "prometheus/rules.yml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (DEPLOY / "grafana/dashboards/tocsin.json").read_text(encoding="utf-8")
    )
    return loaded


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard with where it stands, the variables filled in."""
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert "$" not in expression, f"{panel['title']}: a variable that is not known"
            yield f"{panel['title']} {target['refId']}", expression


def walk(expression: str) -> list[promql_parser.Expr]:
    """Every part of an expression; raises ``ValueError`` where it is none."""
    parts: list[promql_parser.Expr] = []
    promql_parser.walk(promql_parser.parse(expression), parts.append)
    return parts


def problems(expression: str, series: Series) -> list[str]:
    """What an expression names and nobody exposes."""
    found: list[str] = []
    parts = walk(expression)
    shown: set[str] = set()
    for part in parts:
        if not isinstance(part, promql_parser.VectorSelector):
            continue
        labels = series.get(part.name or "")
        if labels is None:
            found.append(f"no series {part.name}")
            continue
        shown |= set(labels)
        for matcher in part.matchers.matchers:
            values = labels.get(matcher.name)
            if values is None:
                found.append(f"{part.name} has no label {matcher.name}")
            elif matcher.op in EXACT:
                if matcher.value not in values:
                    found.append(f"{part.name}: {matcher.name} is never {matcher.value}")
            else:
                found += [
                    f"{part.name}: {matcher.name} is never {one}"
                    for one in matcher.value.split("|")
                    if not any(re.fullmatch(one, value) for value in values)
                ]
    for part in parts:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            found += [f"by {name}: no such label" for name in set(part.modifier.labels) - shown]
    return found


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("tocsin_jobs_total", "no series tocsin_jobs_total"),
        ("tocsin_fires_total{reason='lost'}", "tocsin_fires_total has no label reason"),
        ("tocsin_fires_total{state='done'}", "tocsin_fires_total: state is never done"),
        ("tocsin_fires_total{state=~'failed|done'}", "tocsin_fires_total: state is never done"),
        ("sum by (node) (rate(tocsin_fires_total[1m]))", "by node: no such label"),
        ("absent(tocsin_gone) or up", "no series tocsin_gone"),
        ("sum by (le) (rate(tocsin_lateness_seconds_bucket[1m]))", None),
    ],
)
def test_a_name_that_nobody_exposes_is_noticed(
    series: Series, expression: str, problem: str | None
) -> None:
    assert problems(expression, series) == ([] if problem is None else [problem])


@pytest.mark.parametrize(("place", "expression"), list(queries()))
def test_the_dashboard_asks_for_what_is_exposed(
    series: Series, place: str, expression: str
) -> None:
    assert problems(expression, series) == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_exposed_and_says_what_to_do(
    series: Series, rule: dict[str, Any]
) -> None:
    assert problems(rule["expr"], series) == []
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert label in _labels_of(rule["expr"], series)


def _labels_of(expression: str, series: Series) -> set[str]:
    """The labels that a result has: those it is grouped by, or all of its series."""
    grouped: set[str] | None = None
    named: set[str] = set()
    for part in walk(expression):
        if isinstance(part, promql_parser.AggregateExpr):
            labels = set(part.modifier.labels) if part.modifier is not None else set()
            grouped = labels if grouped is None else grouped
        if isinstance(part, promql_parser.VectorSelector):
            named |= set(series[part.name or ""])
    return named if grouped is None else grouped


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert sorted(set(names)) == sorted(names)


def test_the_dashboard_shows_what_matters() -> None:
    asked = {
        part.name
        for _, expression in queries()
        for part in walk(expression)
        if isinstance(part, promql_parser.VectorSelector)
    }
    assert asked >= EXPECTED


def test_levels_that_every_node_reports_alike_are_not_summed() -> None:
    shared = (
        "tocsin_capacity_limit",
        "tocsin_capacity_used",
        "tocsin_jobs",
        "tocsin_nodes",
        "tocsin_queue_depth",
    )
    for place, expression in [*queries(), *((rule["alert"], rule["expr"]) for rule in rules())]:
        if any(f"{name}{{" in expression or f"{name} " in expression for name in shared):
            assert expression.startswith("max"), place


def test_legends_name_labels_that_are_there(series: Series) -> None:
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m")
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert used <= _labels_of(expression, series), panel["title"]


def test_the_dashboard_is_one_that_grafana_can_load() -> None:
    loaded = dashboard()
    everything = loaded["panels"]
    assert loaded["uid"] == "tocsin"
    assert loaded["title"]
    assert loaded["schemaVersion"] >= 39
    numbers = [panel["id"] for panel in everything]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not taken & cells, f"{panel['title']} overlaps another panel"
        taken |= cells
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_the_dashboard_is_provisioned_with_its_data_source(series: Series) -> None:
    source, node = dashboard()["templating"]["list"]
    provisioning = DEPLOY / "grafana/provisioning"
    [provisioned] = read(provisioning / "datasources/prometheus.yaml")["datasources"]
    assert source["query"] == provisioned["type"] == "prometheus"
    [asked] = re.findall(r"^label_values\((\w+), instance\)$", node["query"]["query"])
    assert asked in series
    [provider] = read(provisioning / "dashboards/tocsin.yaml")["providers"]
    grafana = read(DEPLOY / "compose.yaml")["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]


# --- The image


def dockerfile() -> str:
    """The Dockerfile with continued lines joined."""
    return (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def instruction(name: str) -> list[str]:
    return re.findall(rf"^{name} +(.*)$", dockerfile(), flags=re.MULTILINE)


def test_the_image_stops_gracefully_and_runs_as_nobody() -> None:
    assert instruction("USER") == ["10001:10001"]
    assert instruction("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(instruction("ENTRYPOINT")[0]) == ["tocsin"]
    assert json.loads(instruction("CMD")[0]) == ["serve", "--host", "0.0.0.0"]


def test_the_image_asks_itself_with_code_that_python_takes() -> None:
    [line] = instruction("HEALTHCHECK")
    command = json.loads(line[line.index("[") :])
    assert command[:2] == ["python", "-ISc"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "GET /healthz HTTP/1.0\\r\\n\\r\\n" in command[2]


def test_what_the_build_copies_is_in_its_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source
        for line in instruction("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_no_compiler_is_needed() -> None:
    """``uv sync --no-build`` in the Dockerfile needs a wheel of each dependency."""
    [version] = re.findall(r"PYTHON_IMAGE=python:3\.(\d+)-slim-bookworm", dockerfile())
    packages = {
        package["name"]: package
        for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    }
    seen: set[tuple[str, str | None]] = set()
    waiting: list[tuple[str, str | None]] = [("tocsin", None)]
    while waiting:
        wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        name, extra = wanted
        package = packages[name]
        dependencies = package.get("dependencies", [])
        if extra is not None:
            dependencies = package["optional-dependencies"][extra]
        for dependency in dependencies:
            waiting += [(dependency["name"], one) for one in [None, *dependency.get("extra", [])]]
    needed = {name for name, _ in seen} - {"tocsin"}
    assert "uvloop" in needed
    python = rf"(py2\.)?py3|cp3{version}-cp3{version}|cp3\d+-abi3"
    for machine in ("x86_64", "aarch64"):
        fits = re.compile(rf"-({python})-(none-)?(any|manylinux\w+\S*_{machine})\S*\.whl$")
        for name in needed:
            urls = [wheel["url"] for wheel in packages[name].get("wheels", [])]
            assert any(fits.search(url) for url in urls), f"{name}: no wheel for {machine}"


# --- Compose


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = read(DEPLOY / "compose.yaml")
    return loaded


def test_the_compose_file_is_one(compose: dict[str, Any]) -> None:
    schema = json.loads(
        importlib.resources.files("check_jsonschema")
        .joinpath("builtin_schemas/vendor/compose-spec.json")
        .read_text(encoding="utf-8")
    )
    jsonschema_rs.validator_for(schema).validate(compose)


def test_what_is_mounted_is_there(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_every_service_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in services[needed]["healthcheck"], name
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[needed]["restart"] == "no"
        if name != "migrate":
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["test"][0] == "CMD"
    assert len(nodes()) == 3


def test_no_password_is_in_the_compose_file() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    given = dict(line.split("=", 1) for line in example.splitlines() if re.match(r"\w+=", line))
    required = set(re.findall(r"\$\{(\w+):\?", text))
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert required == {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD", "TOCSIN_BOOTSTRAP_KEY"}
    assert all(given[name] == "change-me" for name in required)
    assert set(given) - required == set(defaults) - {"TOCSIN_IMAGE"}
    for name in set(given) - required:
        assert given[name] == defaults[name]
        assert given[name].startswith("127.0.0.1:"), "not to be reached from outside by default"
    assert "/deploy/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_a_stopping_node_is_given_its_time(compose: dict[str, Any]) -> None:
    for name in nodes():
        given = parse_duration(compose["services"][name]["stop_grace_period"])
        assert given > Settings.model_validate({}).shutdown_grace + API_GRACE_MS


def test_all_nodes_are_asked_and_measured() -> None:
    balancer = (DEPLOY / "haproxy/haproxy.cfg").read_text(encoding="utf-8")
    servers = re.findall(r"^ +server (\S+) (\S+)", balancer, flags=re.MULTILINE)
    assert servers == [(name, f"{name}:8080") for name in nodes()]
    assert "uri /readyz" in balancer
    scraped = {
        one["job_name"]: one["static_configs"][0]["targets"]
        for one in read(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]
    }
    assert scraped["tocsin"] == [f"{name}:8080" for name in nodes()]


def test_images_of_others_are_named_with_a_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if "build" not in service:
            assert re.search(r":v?\d", service["image"]), name


# --- Settings


def environments() -> Iterator[tuple[str, Mapping[str, str | None]]]:
    """Every environment of a node, by file."""
    given = " ".join(instruction("ENV"))
    yield "Dockerfile", dict(re.findall(r"(TOCSIN_\w+)=(\S+)", given))
    yield "compose.yaml", read(DEPLOY / "compose.yaml")["x-tocsin"]["environment"]
    lines = (KUBERNETES / "tocsin.env").read_text(encoding="utf-8").splitlines()
    yield "tocsin.env", dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    yield "secret.example.yaml", read(KUBERNETES / "secret.example.yaml")["stringData"]


@pytest.mark.parametrize(("file", "environment"), list(environments()))
def test_every_variable_is_a_setting(file: str, environment: Mapping[str, str | None]) -> None:
    known = {setting.variable for setting in settings_catalogue()}
    assert set(environment) <= known
    given = {
        name.removeprefix("TOCSIN_").lower(): value
        for name, value in environment.items()
        if value is not None
    }
    if given.get("bootstrap_key") is not None:
        # Who leaves it as it is shall not get an admin's key that everybody knows.
        assert given["bootstrap_key"] == "change-me" or file == "compose.yaml"
        given["bootstrap_key"] = "tcs_0123456789abcdef"
    Settings.model_validate(given)


# --- Kubernetes


def manifests() -> list[Path]:
    kustomization = read(KUBERNETES / "kustomization.yaml")
    return [KUBERNETES / name for name in kustomization["resources"]]


def manifest(name: str) -> Any:
    return read(KUBERNETES / f"{name}.yaml")


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize(
    "path", [*manifests(), KUBERNETES / "secret.example.yaml"], ids=lambda path: path.name
)
def test_a_manifest_is_what_kubernetes_accepts(path: Path, version: str) -> None:
    kubernetes_validate.validate(read(path), version, strict=True)


def test_a_manifest_with_a_mistake_is_refused() -> None:
    broken = manifest("deployment")
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_every_manifest_is_used_or_said_to_be_optional() -> None:
    optional = {"kustomization.yaml", "secret.example.yaml", "servicemonitor.yaml"}
    present = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert {path.name for path in manifests()} == present - optional
    kustomization = manifest("kustomization")
    [generated] = kustomization["configMapGenerator"]
    assert all((KUBERNETES / file).exists() for file in generated["envs"])
    used = {image["name"] for image in kustomization["images"]}
    assert used == {container["image"] for container in containers()}


def pod() -> dict[str, Any]:
    loaded: dict[str, Any] = manifest("deployment")["spec"]["template"]
    return loaded


def containers() -> list[dict[str, Any]]:
    return [*pod()["spec"]["initContainers"], *pod()["spec"]["containers"]]


def test_what_selects_the_pods_finds_them() -> None:
    labels = pod()["metadata"]["labels"]
    assert manifest("deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("service")["spec"]["selector"] == labels
    assert manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"] == labels
    for constraint in pod()["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == labels


def test_ports_have_the_same_name_everywhere() -> None:
    [node] = pod()["spec"]["containers"]
    [port] = node["ports"]
    [offered] = manifest("service")["spec"]["ports"]
    assert offered["targetPort"] == port["name"]
    [entry] = manifest("networkpolicy")["spec"]["ingress"]
    assert [one["port"] for one in entry["ports"]] == [port["name"]]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert node[probe]["httpGet"]["port"] == port["name"]
    assert node["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert node["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_service_monitor_finds_the_service() -> None:
    monitor = manifest("servicemonitor")
    service = manifest("service")
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert endpoint["path"] == "/metrics"


def test_the_service_does_not_set_the_port_of_the_nodes() -> None:
    """Kubernetes would set ``TOCSIN_PORT=tcp://…`` for a service of that name."""
    assert manifest("service")["metadata"]["name"] == "tocsin"
    assert pod()["spec"]["enableServiceLinks"] is False


def test_a_pod_is_given_the_time_to_stop() -> None:
    settings = dict(environments())["tocsin.env"]
    grace = parse_duration(settings["TOCSIN_SHUTDOWN_GRACE"] or "")
    [node] = pod()["spec"]["containers"]
    slept = int(node["lifecycle"]["preStop"]["exec"]["command"][-1]) * 1_000
    given = pod()["spec"]["terminationGracePeriodSeconds"] * 1_000
    assert given > slept + grace + API_GRACE_MS


def test_containers_may_do_nothing_but_run() -> None:
    security = pod()["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == instruction("USER")[0]
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
