"""The verbs of `reasonseg`, one module each: `register` adds its options, `run` carries it out."""
