"""The build, for real: what it makes of a clean base, and what it leaves when it fails or is killed."""

import pytest

pytestmark = pytest.mark.integration
