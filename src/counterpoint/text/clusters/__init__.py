"""Texts that say the same: fine-tuning, clustering, what it is compared with."""
