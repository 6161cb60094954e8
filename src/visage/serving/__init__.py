"""What applications and the command line import to use exported models."""
