"""Reading text files into chunks of rows: lines of plain and gzip files, separated values, typed
columns."""
