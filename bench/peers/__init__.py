"""One module a peer: how it is sent to and how its worker is run, with its best reasonable settings. See `side`."""
