"""The service as an application of Ray Serve: deployed by a configuration, as KubeRay does it, and asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.runtime.session import RaySession
from cluster.service.deployment import _stop, _wait
from cluster.store.store import Store
from teacher.chemistry.molecule import key_of
from tests.support.models import TARGET, untrained_student
from tests.support.server import KEY, MODEL, Behaviour, serving
from tests.support.service import SECONDS, free_port

TOKEN = "a token of the tests"
NAME = "gallon"


@pytest.fixture
def url(ray_here: RaySession, store: Store, tmp_path: Path) -> Iterator[str]:
    """The service, built inside the cluster, where secrets are in the environment."""
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    secrets = {"GALLON_STORE": store.url, "GALLON_SERVICE_TOKEN": TOKEN, "GALLON_ENDPOINT_KEY": KEY}
    with serving(Behaviour()) as endpoint:
        options = {"endpoint": endpoint, "model": MODEL, "student": str(untrained_student(tmp_path / "student"))}
        described: dict[str, Any] = {
            "name": NAME,
            "route_prefix": "/",
            "import_path": "gallon.api.service:build",
            "args": options,
            "runtime_env": {"env_vars": secrets},
        }
        port = free_port()
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        try:
            _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [described]}))
            _wait([NAME])
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(10.0)


def test_the_service_is_deployed_by_a_configuration_and_built_inside_the_cluster(url: str, store: Store) -> None:
    assert httpx.post(f"{url}/describe", json={"smiles": "CCO"}, timeout=SECONDS).status_code == 401
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=SECONDS) as client:
        first, again = (client.post("/describe", json={"smiles": "OCC"}).json() for _ in range(2))
        predicted = client.post("/predict", json={"smiles": "CCO"}).json()
    assert (first["record"]["smiles"], first["stored"], again["stored"]) == ("CCO", False, True)
    assert TARGET in predicted["predictions"]
    assert store.state_of(first["spec"], [key_of("CCO")]) == ["accepted"]
