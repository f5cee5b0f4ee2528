"""The web console: shows a running node in a browser, and takes questions, corrections and ground truth."""
