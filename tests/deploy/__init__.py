"""The recipes of docs/deploy, run as they stand there with the programs that they are for."""
