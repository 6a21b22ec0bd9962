"""A client of the server over HTTP. The command line is built on it; nothing here prints or ends the process."""
