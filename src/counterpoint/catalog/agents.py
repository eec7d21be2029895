"""The rows of the agents wing."""

from counterpoint.catalog.row import Row

ROWS = (
    Row(
        name="tf-ttcl",
        target="counterpoint.agents.tf_ttcl:TFTTCL",
        wing="agents",
        data="counterpoint.agents.questions:Questions",
        paper="arXiv 2604.13552",
        status="exact",
        extra="agents",
        claim="counterpoint.agents.claims:TF_TTCL",
        further_claims=("counterpoint.agents.claims:TF_TTCL_SWITCHES",),
        summary="a frozen language model that writes itself rules from its own best and worst answers",
    ),
    Row(
        name="clear",
        target="counterpoint.agents.clear:CLEAR",
        wing="agents",
        data="counterpoint.agents.trajectories:Trajectories",
        paper="arXiv 2604.07487",
        status="reconstruction",
        extra="agents",
        claim="counterpoint.agents.claims:CLEAR_APPS",
        further_claims=("counterpoint.agents.claims:CLEAR_WEBSHOP",),
        summary="guidance for a task, written by a model that learned from good and bad runs of others",
    ),
)
