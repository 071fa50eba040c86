"""For all tests."""

from hypothesis import settings

# A deadline is an assertion about the wall clock, which a busy machine breaks.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
