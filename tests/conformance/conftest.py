collect_ignore = ["plugins"]
"""They are imported in the environments of foreign suites, and change what they find there."""
