"""The REST API: routes, shapes and problems; what users ask is answered by ``services``."""
