"""The store's methods as synchronous functions over a SQLAlchemy connection, for both dialects.

::

    statements      what each dialect writes itself: the statements that run per fire or in bulk
    ids, job_cache  definitions, decoded once per version
    jobs, job_list  jobs: one at a time and in pages
    executions, execution_list
    claim, record   the life of a fire
    ownership       nodes, leases, rescue
    outcomes        what follows when executions end: tallies and health
    counters, requests, history, stats

Each function is called inside a transaction that may write (those that only read: at least a
consistent snapshot), and leaves its end to the caller.
"""
