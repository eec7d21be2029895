"""Tables read from files, folders and records, and written again."""
