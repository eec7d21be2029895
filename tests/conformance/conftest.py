"""The checks are imported by the test files, so pytest is told to explain their assertions, too."""

import pytest

pytest.register_assert_rewrite("conformance.checks")
