"""The loops that make things happen: each has one ``step(now)`` and a ``run()``."""
