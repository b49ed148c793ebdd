"""The command line: `cloudlab NOUN VERB`, one file for each noun."""
