"""One file or folder per log format; every module in this folder is imported and registers its
reader with `@READERS.register(name)`."""
