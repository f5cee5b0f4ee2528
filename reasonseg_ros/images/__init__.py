"""Images as arrays: messages, files, pictures of answers, and masks as they travel."""
