"""What programs use that look at a running node from outside: asking it, pictures of its answers, its topics."""
