"""Using a fitted method: indexes and search, bulk embedding, the server and export."""
