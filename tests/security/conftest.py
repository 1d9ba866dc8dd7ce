"""Real processes for attacks."""

from tests.chaos.conftest import NodeFactory, cluster, node, postgres, receiver

__all__ = ["NodeFactory", "cluster", "node", "postgres", "receiver"]
