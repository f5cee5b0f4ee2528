"""The main job shown on a fresh machine: a bag on real topics, the real node, questions and their answers."""
