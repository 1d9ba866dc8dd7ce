"""Real processes for attacks."""

from tests.chaos.conftest import NodeFactory, node, receiver

__all__ = ["NodeFactory", "node", "receiver"]
