"""What a user can ask of jobs and executions, over a store and a bus."""
