"""Files in and out: bounded readers of JSON and YAML, whole-file writing, output checks, package resources."""
