"""Measurements. Each script backs one claim, prints a table and writes a plot; `python -m bench.NAME`."""
