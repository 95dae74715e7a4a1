"""One module a job of the worker."""
