"""Recommenders: from what people did to what they may want next."""
