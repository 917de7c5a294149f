"""What the parts agree on: nothing here does I/O except reading the configuration and the price table.

settings.py                 the configuration as a whole; load.py reads it
upstreams.py routes.py      what an upstream and a route may say in it; values.py: how values are written
parts.py                    a route of which slices climb apart, as the routes that it becomes
records.py                  what gateways spool, and the rules of all records
pairs.py decisions.py       what control makes of it
keys.py                     API keys at rest
snapshot.py                 what control publishes and gateways serve by
prices.py redaction.py pseudonyms.py ids.py errors.py
"""
