"""The commands of the command line, one module each; `tnlayers.__main__` puts them together."""
