"""The web console: a running node in a browser, with what it sees, answers and is corrected to."""
