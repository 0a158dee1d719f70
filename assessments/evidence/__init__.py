"""What was seen: sources, collections and the facts they brought."""
