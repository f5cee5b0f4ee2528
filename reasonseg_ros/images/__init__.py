"""Images as arrays: messages, files, drawings of answers, and coded masks."""
