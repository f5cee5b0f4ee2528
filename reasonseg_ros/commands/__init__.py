"""The verbs of `reasonseg`, one module each: `register` adds the verb and its options, `run` executes it."""
