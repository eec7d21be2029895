"""Private spans of texts: finding them, and rewriting them under a budget."""
