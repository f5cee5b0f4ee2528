"""Sources of pictures with instance masks."""
