"""The methods of the graphs wing, held to what all methods are held to."""

from conformance.checks import *  # noqa: F403
from conformance.checks import of_wing

pytestmark = of_wing("graphs")
