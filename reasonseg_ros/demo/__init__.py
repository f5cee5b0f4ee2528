"""The demo: plays a bag on real topics, asks the real node questions, and shows and scores the answers."""
