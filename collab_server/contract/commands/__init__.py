"""The rows of the commands, a file for each thing they are about; `catalogue.py` has all of them in order."""
