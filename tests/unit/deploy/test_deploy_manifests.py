"""The files of deploy/: they parse, fit the schemas of what reads them, and hold what matters."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import validate
from ray._common.utils import import_attr
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema

from cluster.service.access import TOKEN_VARIABLE
from gallon.api.service import build
from gallon.config import STORE_VARIABLE
from teacher.errors import UsageError

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES_VERSION = "1.33"
LINTERS = Path(sys.executable).parent  # where the packages of the extra `dev` put them
MANIFESTS = [
    "namespace.yaml",
    "networkpolicy.yaml",
    "raycluster.yaml",
    "rayjob.yaml",
    "redis.yaml",
    "secret.example.yaml",
    "service/rayservice.yaml",
]
PODS = ["redis", "head", "gpu", "service head", "service gpu"]
SCRIPTS = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!"))


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()))


def manifest(name: str, kind: str) -> dict[str, Any]:
    return next(each for each in manifests(name) if each["kind"] == kind)


def clusters() -> dict[str, dict[str, Any]]:
    """Return the Ray clusters by what their pods' names begin with."""
    service = manifest("service/rayservice.yaml", "RayService")["spec"]["rayClusterConfig"]
    return {"": manifest("raycluster.yaml", "RayCluster")["spec"], "service ": service}


def pods() -> dict[str, dict[str, Any]]:
    """Return the pod templates of all manifests by a name."""
    found = {"redis": manifest("redis.yaml", "StatefulSet")["spec"]["template"]}
    for of, cluster in clusters().items():
        found[f"{of}head"] = cluster["headGroupSpec"]["template"]
        found |= {f"{of}{group['groupName']}": group["template"] for group in cluster["workerGroupSpecs"]}
    return found


# Kubernetes


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_fit_the_schemas_of_kubernetes_and_kuberay(name: str) -> None:
    ours = yaml.safe_load(Path(__file__).with_name("kuberay.schema.yaml").read_text())
    for each in manifests(name):
        if each["apiVersion"] == "ray.io/v1":
            validate(each, ours)
        else:
            kubernetes_validate.validate(each, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_pods_fit_the_schema_of_kubernetes(name: str) -> None:
    template = pods()[name]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name.replace(" ", "-"), **template["metadata"]},
        "spec": template["spec"],
    }
    kubernetes_validate.validate(pod, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_no_pod_runs_as_root_or_may_become_it(name: str) -> None:
    spec = pods()[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("spec", clusters().values(), ids=["for jobs", "of the service"])
def test_the_head_does_no_work_and_gpu_workers_come_and_go(spec: dict[str, Any]) -> None:
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    (workers,) = spec["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_jobs_run_on_spot_nodes_and_the_service_does_not() -> None:
    on_spot = {name: "spot" in json.dumps(template["spec"].get("tolerations", [])) for name, template in pods().items()}
    assert on_spot == dict.fromkeys(PODS, False) | {"gpu": True}


def test_both_clusters_are_of_the_ray_that_is_installed() -> None:
    assert {cluster["rayVersion"] for cluster in clusters().values()} == {version("ray")}


def test_the_volumes_that_pods_mount_are_there() -> None:
    claims = {
        each["metadata"]["name"] for each in manifest("redis.yaml", "StatefulSet")["spec"]["volumeClaimTemplates"]
    }
    for name, template in pods().items():
        there = {volume["name"] for volume in template["spec"]["volumes"]} | (claims if name == "redis" else set())
        for container in template["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= there


def test_secrets_are_referred_to_and_never_written_down() -> None:
    examples = {each["metadata"]["name"]: set(each["stringData"]) for each in manifests("secret.example.yaml")}
    used: dict[str, set[str]] = {}
    for template in pods().values():
        for container in template["spec"]["containers"]:
            for variable in container["env"]:
                reference = variable["valueFrom"]["secretKeyRef"]
                used.setdefault(reference["name"], set()).add(reference["key"])
    assert used == examples
    for folder in (".", "service"):
        resources = yaml.safe_load((DEPLOY / "kubernetes" / folder / "kustomization.yaml").read_text())["resources"]
        assert "secret.example.yaml" not in resources


def test_all_images_are_where_the_user_pushed_the_one_of_the_container() -> None:
    places = [
        yaml.safe_load((DEPLOY / "kubernetes" / folder / "kustomization.yaml").read_text())["images"]
        for folder in (".", "service")
    ]
    assert places[0] == places[1]
    images = {container["image"] for template in pods().values() for container in template["spec"]["containers"]}
    assert images == {places[0][0]["name"]}


def test_the_network_is_closed_but_for_named_doors() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests("networkpolicy.yaml")}
    assert policies["closed"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    (door,) = policies["redis"]["ingress"]
    assert door["ports"] == [{"protocol": "TCP", "port": 6379}]
    assert door["from"] == [{"podSelector": {"matchLabels": {"app": "gallon-ray"}}}]
    labels = {name: template["metadata"]["labels"]["app"] for name, template in pods().items()}
    assert labels == dict.fromkeys(PODS, "gallon-ray") | {"redis": "gallon-redis"}
    doors = {port["port"]: door["from"] for door in policies["ray"]["ingress"] for port in door.get("ports", [])}
    assert doors.keys() == {8000, 8080, 8265}
    assert {"namespaceSelector": {}, "podSelector": {"matchLabels": {"gallon-client": "true"}}} in doors[8000]


def test_the_service_is_built_from_its_configuration_by_what_gallon_has(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = manifest("service/rayservice.yaml", "RayService")["spec"]
    described = yaml.safe_load(spec["serveConfigV2"])
    config = ServeDeploySchema.model_validate(described)
    (application,) = config.applications
    assert (config.http_options.host, config.http_options.port) == ("0.0.0.0", 8000)
    for template in (pods()["service head"], pods()["service gpu"]):
        (container,) = template["spec"]["containers"]
        assert {"name": "serve", "containerPort": config.http_options.port} in container["ports"]
        assert {variable["name"] for variable in container["env"]} == {STORE_VARIABLE, TOKEN_VARIABLE}
    monkeypatch.setenv(STORE_VARIABLE, "redis://gallon:password@redis:6379")
    monkeypatch.setenv(TOKEN_VARIABLE, "a token of the tests")
    args = application.args | {"model": "tiny"}  # which is there without a network
    built = call_user_app_builder_with_args_if_necessary(import_attr(application.import_path), args)
    fronts = built._bound_deployment
    annotators = fronts.init_args[1]._bound_deployment
    assert (fronts.num_replicas, annotators.num_replicas) == (args["replicas"], args["workers"])
    assert "password" not in repr(fronts.init_args)


def test_the_service_and_the_cluster_for_jobs_do_not_share_the_names_that_kuberay_makes_of_theirs() -> None:
    names = [
        manifest(file, kind)["metadata"]["name"]
        for file, kind in (("raycluster.yaml", "RayCluster"), ("service/rayservice.yaml", "RayService"))
    ]
    secrets = {each["metadata"]["name"] for each in manifests("secret.example.yaml")}
    assert len(set(names)) == 2 and not secrets & set(names)
    readme = (DEPLOY / "kubernetes" / "README.md").read_text()
    assert f"{names[0]}-head-svc" in readme and f"{names[1]}-serve-svc" in readme


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"modle": "tiny"}, "There is no option modle in args"),
        ({"port": 80}, "port is said by http_options of Ray Serve"),
        ({"describe": False}, "There is nothing to serve"),
        ({"replicas": 0}, "replicas must be at least 1"),
    ],
)
def test_a_mistake_in_the_services_options_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setenv(STORE_VARIABLE, "redis://redis:6379")
    monkeypatch.setenv(TOKEN_VARIABLE, "a token of the tests")
    with pytest.raises(UsageError, match=sentence):
        build(changes)


def test_the_service_is_not_built_without_a_token_or_a_store_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE_VARIABLE, "/a/folder")
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="needs a token: put one into GALLON_SERVICE_TOKEN"):
        build({})
    monkeypatch.setenv(TOKEN_VARIABLE, "a token of the tests")
    with pytest.raises(UsageError, match="put the URL of a Redis into GALLON_STORE"):
        build({})


def test_the_job_runs_on_the_cluster_by_a_command_that_gallon_knows() -> None:
    job = manifest("rayjob.yaml", "RayJob")["spec"]
    assert job["clusterSelector"] == {"ray.io/cluster": manifest("raycluster.yaml", "RayCluster")["metadata"]["name"]}
    assert_gallon_knows(job["entrypoint"])


def assert_gallon_knows(command: str) -> None:
    import typer.main

    from gallon.cli.app import app

    program, verb, *arguments = shlex.split(command)
    assert program == "gallon"
    typer.main.get_command(app).commands[verb].make_context(verb, arguments)  # type: ignore[attr-defined]


# Compose


def test_the_compose_file_opens_ports_on_loopback_only() -> None:
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    assert set(services) == {"certificates", "redis", "head", "worker", "prometheus", "grafana"}
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "--num-cpus 0" in services["head"]["command"]


def test_compose_takes_every_secret_from_the_env_file() -> None:
    text = (DEPLOY / "compose" / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?\}", text))
    example = dict(line.split("=", 1) for line in env_lines())
    assert required == {name for name, value in example.items() if not value}
    assert set(re.findall(r"\$\{(\w+):-", text)) <= set(example)


def test_only_redis_and_the_maker_of_certificates_hold_keys() -> None:
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    holders = {name for name, service in services.items() if mounts(service, "tls")}
    assert holders == {"certificates", "redis"}
    for name in ("head", "worker"):
        (volume,) = mounts(services[name], "authority")
        (path,) = re.findall(r"ssl_ca_certs=(\S+)", services[name]["environment"]["GALLON_STORE"])
        assert volume.split(":")[1:] == [str(Path(path).parent), "ro"]
    (made,) = mounts(services["certificates"], "authority")
    assert services["certificates"]["command"][-1].endswith(f"&& cp /tls/ca.pem {made.split(':')[1]}")


def mounts(service: dict, volume: str) -> list[str]:
    return [mount for mount in service.get("volumes", []) if mount.split(":")[0] == volume]


def env_lines() -> list[str]:
    return [line for line in (DEPLOY / "compose" / "env.example").read_text().splitlines() if line and line[0] != "#"]


def test_what_compose_mounts_from_the_project_is_there() -> None:
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    ours = [DEPLOY / "compose" / path for path in mounted if path.startswith("../")]
    assert len(ours) == 3
    assert all(path.exists() for path in ours)


# Container


def test_the_container_is_pinned_and_does_not_run_as_root() -> None:
    lines = (DEPLOY / "container" / "Containerfile").read_text().splitlines()
    bases = [line.split() for line in lines if line.startswith("FROM ")]
    assert [base[3] for base in bases] == ["base", "cpu", "gpu"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0][1])
    assert [line for line in lines if line.startswith("USER ")] == ["USER 1000"]


def test_a_login_shell_in_the_container_finds_what_rays_launcher_runs_there(tmp_path: Path) -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    assert re.search(r"^ +gcc .* rsync .*\\$", text, re.MULTILINE)  # which brings the cluster's configuration
    (line,) = re.findall(r"echo '(.*)' > /etc/profile\.d/gallon\.sh", text)
    profile = tmp_path / "profile"
    profile.write_text(f"PATH=/usr/bin:/bin\n{line}\n")  # Debian's own profile forgets the PATH of the image
    shown = subprocess.run(["sh", "-c", f". {profile}; echo $PATH"], capture_output=True, text=True, check=True).stdout
    in_image = re.findall(r"^ENV PATH=(.*):\$PATH", text, re.MULTILINE)
    assert shown.strip().split(":")[0] == in_image[0]


def test_the_container_has_no_tools_for_tests_and_make_sets_them_up() -> None:
    lines = (DEPLOY / "container" / "Containerfile").read_text().splitlines()
    installs = [line.split()[1:] for line in lines if line.startswith("RUN deploy/install.sh")]
    assert installs == [["deploy/install.sh", "/opt/gallon/venv", extra] for extra in ("cpu", "gpu")]
    assert "deploy/install.sh $(VENV) $(EXTRA) dev" in (DEPLOY.parent / "Makefile").read_text()


def test_tools_for_tests_are_installed_only_when_asked_for(tmp_path: Path) -> None:
    """With a Python whose pip notes what it is to install, and installs nothing."""
    python = tmp_path / "python"
    python.write_text(
        """#!/bin/sh
        case "$2" in
          venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
          pip) echo "$@" >> "$NOTES" ;;
          *platform*) echo "3.11 linux x86_64" ;;
        esac
        """
    )
    python.chmod(0o755)
    for asked, tools in (([], False), (["dev"], True)):
        notes = tmp_path / f"notes-{tools}"
        environment = {**os.environ, "PYTHON": str(python), "NOTES": str(notes)}
        subprocess.run([DEPLOY / "install.sh", tmp_path / "venv", "cpu", *asked], check=True, env=environment)
        assert ("requirements-dev.txt" in notes.read_text()) is tools
        assert "requirements-cpu.txt" in notes.read_text()


def test_the_container_file_is_sound() -> None:
    file = DEPLOY / "container" / "Containerfile"
    found = subprocess.run([LINTERS / "hadolint", "--no-color", file], check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_what_the_container_copies_is_there_and_not_ignored() -> None:
    lines = (DEPLOY / "container" / "Containerfile").read_text().splitlines()
    copied = {path for line in lines if line.startswith("COPY ") for path in line.split()[2:-1]}
    assert all((DEPLOY.parent / path).exists() for path in copied)
    ignore = (DEPLOY / "container" / "Containerfile.dockerignore").read_text().splitlines()
    assert copied == {line[1:] for line in ignore if line.startswith("!")}


# Ray's launcher


def test_the_file_for_ray_up_fits_rays_own_schema() -> None:
    config = yaml.safe_load((DEPLOY / "ray-up" / "cluster.yaml").read_text())
    validate(config, json.loads(files("ray.autoscaler").joinpath("ray-schema.json").read_text()))
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1]


# Scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_scripts_are_sound(script: Path) -> None:
    assert script.stat().st_mode & 0o111 or script.suffix == ".sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    found = subprocess.run([LINTERS / "shellcheck", script], check=False, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_the_slurm_script_goes_back_into_the_queue_and_asks_for_a_token() -> None:
    text = (DEPLOY / "slurm" / "gallon.sbatch").read_text()
    assert {"#SBATCH --requeue", "#SBATCH --open-mode=append"} <= set(text.splitlines())
    assert "RAY_AUTH_MODE=token" in text


def test_slurm_jobs_that_follow_one_another_share_no_port() -> None:
    text = (DEPLOY / "slurm" / "gallon.sbatch").read_text()
    (port,) = re.findall(r"^port=(\$\(\(.+\)\))", text, re.MULTILINE)
    offsets = {0, *map(int, re.findall(r"\$\(\(port \+ (\d+)\)\)", text))}
    jobs = range(3990, 4010)
    script = f"for SLURM_JOB_ID in {' '.join(map(str, jobs))}; do echo {port}; done"
    first = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.split()
    taken = [int(each) + offset for each in first for offset in offsets]
    assert len(set(taken)) == len(taken) == 3 * len(jobs)
    assert min(taken) > 1024 and max(taken) < 32_768  # from where Linux gives ports to whoever asks for any


@pytest.fixture
def groups() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three process groups, whose ends somebody takes note of."""
    started = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(3)]
    for each in started:
        threading.Thread(target=each.wait, daemon=True).start()
    yield started
    for each in started:
        each.kill()


def test_taking_down_the_local_cluster_spares_processes_that_were_given_a_number_of_its_own(
    groups: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    local = DEPLOY / "local"
    births = [subprocess.check_output([local / "birth", str(each.pid)], text=True).strip() for each in groups]
    boot, _, start = births[0].partition(":")
    written = [births[0], f"another-boot:{start}", f"{boot}:{int(start) - 1}"]
    lines = [f"{each.pid} part {birth}" for each, birth in zip(groups, written, strict=True)]
    (tmp_path / "pids").write_text("\n".join([*lines, f"{2**22 + 1} part {boot}:gone"]) + "\n")
    (tmp_path / "env").write_text("exit 1\n")  # there are no jobs to be stopped
    subprocess.run([local / "down", tmp_path], check=True, timeout=60)
    assert groups[0].wait(10) == -signal.SIGTERM
    assert [each.poll() for each in groups[1:]] == [None, None]
    assert not (tmp_path / "pids").exists()


# Every folder


def test_every_folder_says_on_one_screen_how_to_start_see_and_stop_it() -> None:
    folders = [path for path in DEPLOY.iterdir() if path.is_dir()]
    assert len(folders) == 9
    for folder in folders:
        text = (folder / "README.md").read_text()
        assert len(text.splitlines()) <= 50
        assert all(f"**{word}**" in text for word in ("Start", "See", "Stop"))
