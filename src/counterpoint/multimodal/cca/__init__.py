"""Canonical correlation: ridge CCA for each pair of views, and MCCA, GCCA and kernel CCA, one space for all."""
