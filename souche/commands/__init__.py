"""The commands of `souche`: one file for each, or for a few of one subject."""
