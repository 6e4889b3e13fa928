"""Examples of Hypothesis have no deadline: on a busy machine any of them may take long."""

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # the environment of `make test-vllm` is without it
    pass
else:
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")
