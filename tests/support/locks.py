"""The lock files, from the shortest to the longest, each with those before it in it: the order of scripts/setup.sh."""

LOCKS = ("requirements.lock", "requirements-rehearsal.lock", "requirements-dev.lock")
