collect_ignore = ["foreign"]
"""They are imported in the environments of foreign suites, and change what they find there."""
