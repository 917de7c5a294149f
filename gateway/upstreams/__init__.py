"""How to reach an upstream. The protocol is in base.py; `UPSTREAMS` in registry.py is the explicit table of kinds."""
