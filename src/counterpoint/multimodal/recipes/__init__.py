"""Recipes that write real tables as Parquet, each a command of its own."""
