"""One file for each command of `souche`."""
