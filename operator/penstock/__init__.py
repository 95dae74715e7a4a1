"""Penstock: config-as-code for moving data on Kubernetes."""

__version__ = "0.1.0"
