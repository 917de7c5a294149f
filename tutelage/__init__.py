"""The program: configuration, records, stores, control plane and commands."""
