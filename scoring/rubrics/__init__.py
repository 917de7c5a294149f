"""Rubrics: weighted criteria, versioned, in strict YAML. The schema is in schema.py, reading in load.py."""
