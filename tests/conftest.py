"""What all tests have: properties are checked on the same examples in every run, and however slow the machine is.

`pytest --hypothesis-profile=exploring` looks for others.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("exploring"), derandomize=True, database=None)
settings.load_profile("steady")
