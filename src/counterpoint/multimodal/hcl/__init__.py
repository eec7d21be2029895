"""HCL, as a deep module and as linear factors, and what both are made of: structures, loadings, the group lasso."""
