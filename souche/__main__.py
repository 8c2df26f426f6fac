"""`python -m souche` is the command line, wherever the interpreter's scripts are."""

from souche.cli import main

main(prog_name="souche")
