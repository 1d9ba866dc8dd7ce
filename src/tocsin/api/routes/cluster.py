"""The nodes of the cluster."""

from fastapi import FastAPI, Response

from tocsin.api.answers import json_answer
from tocsin.api.cluster import cluster_json
from tocsin.api.context import ApiContext
from tocsin.api.needs import needs
from tocsin.api.openapi import answers
from tocsin.domain.access import Action


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add the route."""
    cluster = context.cluster

    @app.get(
        "/api/v1/cluster",
        tags=["system"],
        summary="The nodes with their leases and what each has on hand",
        description="Every node answers the same, but for `this` and the time. A node that was "
        "stopped, or whose death the others have noticed, is not listed any more.",
        operation_id="getCluster",
        responses=answers(200, "ClusterOut", "All nodes, by name and start"),
    )
    @needs(Action.READ)
    async def get_cluster() -> Response:
        return json_answer(cluster_json(await cluster.look()))
