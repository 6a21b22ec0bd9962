"""What talks to a server over HTTP. The command line is built on it; nothing here prints or ends the process."""
