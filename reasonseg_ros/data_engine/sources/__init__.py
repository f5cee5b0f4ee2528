"""Where pictures with instance masks come from."""
