"""Other schedulers under the same workloads, in the same run."""
