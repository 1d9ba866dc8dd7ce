"""Keeping jobs, timers and executions; `port` is the contract."""
