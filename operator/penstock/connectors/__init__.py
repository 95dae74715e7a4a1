"""One folder a system: `spec.py` is what the kinds and control may see of it; the rest carries data."""
