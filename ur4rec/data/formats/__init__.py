"""The formats of interactions and item tables: a module each, and one table of them in `table_of_formats.py`."""
