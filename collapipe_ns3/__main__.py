"""`python -m collapipe_ns3` is the command line."""

from collapipe_ns3.cli import main

main()
