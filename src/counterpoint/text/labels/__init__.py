"""Classifiers of texts, and freeing them of shortcuts."""
