"""From a question to the text that a checkpoint reads: prompts, chat templates, and a trial of a template."""
