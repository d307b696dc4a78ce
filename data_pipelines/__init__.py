"""From a raw log to a data folder: formats (`readers`), vocabularies, block records and their
manifest (`preprocess`)."""
