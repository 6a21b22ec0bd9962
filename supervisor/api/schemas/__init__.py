"""The JSON of the HTTP interface. No module outside of this package knows its field names."""
