"""Several processes on one host behind one address: a supervisor, and what its children share."""
