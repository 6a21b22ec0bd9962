"""The JSON of the HTTP interface. No module outside of this folder knows its field names."""
