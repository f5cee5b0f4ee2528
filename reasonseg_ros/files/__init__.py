"""Reading and writing files: bounded JSON and YAML readers, atomic writes, outputs, resources, standard streams."""
