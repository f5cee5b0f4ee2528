"""Answers as messages of other packages, for programs that do not know this package's messages."""
