"""Files in and out: bounded readers of JSON and YAML, whole-file writing, outputs, resources, standard streams."""
