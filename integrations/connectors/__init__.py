"""One file per kind of source; each turns a remote system into fact rows and a statement of what it read."""
